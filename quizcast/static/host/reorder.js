// Moving lines of a list by their handles: with a finger or a mouse, or by arrow keys while the handle has the focus.
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { t } from "../ui/i18n.js";

const EDGE_PX = 60; // so near to the edge of what scrolls, it does
const SCROLL_PX = 12; // a frame

/** `list` is the ref of the list element; `handle(place)` gives the props of a `Handle`. `onMove(from, to)` moves. */
export function useReorder(onMove) {
  const list = useRef(null);
  const latest = useRef(onMove);
  const stop = useRef(null);
  const [held, hold] = useState(null);
  latest.current = onMove;
  useEffect(() => () => stop.current?.(), []);

  const start = (event, from) => {
    if (event.button) return;
    event.preventDefault();
    let at = from;
    let y = event.clientY;
    let frame;
    // On the window: a line that moves in the document loses its capture of the pointer.
    const follow = (moved) => {
      y = moved.clientY;
      const to = placeAt(list.current, at, y);
      if (to === at) return;
      latest.current(at, to);
      at = to;
      hold(at);
    };
    const scroll = () => {
      const box = scroller(list.current);
      const { top, bottom } = box === document.scrollingElement ? { top: 0, bottom: innerHeight } : box.getBoundingClientRect();
      if (y < top + EDGE_PX) box.scrollBy(0, -SCROLL_PX);
      else if (y > bottom - EDGE_PX) box.scrollBy(0, SCROLL_PX);
      frame = requestAnimationFrame(scroll);
    };
    stop.current = () => {
      removeEventListener("pointermove", follow);
      removeEventListener("pointerup", stop.current);
      removeEventListener("pointercancel", stop.current);
      cancelAnimationFrame(frame);
      hold(null);
    };
    addEventListener("pointermove", follow);
    addEventListener("pointerup", stop.current);
    addEventListener("pointercancel", stop.current);
    frame = requestAnimationFrame(scroll);
    hold(at);
  };
  const keyed = (event, from) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const handle = event.currentTarget;
    latest.current(from, from + by);
    requestAnimationFrame(() => handle.focus());
  };
  return { list, held, handle: (place) => ({ onPointerDown: (event) => start(event, place), onKeyDown: (event) => keyed(event, place) }) };
}

/** What a line is held by. */
export function Handle({ name, ...more }) {
  return html`<button type="button" class="handle" aria-label=${t("editor.handle", { name })} title=${t("editor.handle_hint")} ...${more}>
    <svg viewBox="0 0 10 16" aria-hidden="true"><path d="M1 1h3v3H1zM6 1h3v3H6zM1 6.5h3v3H1zM6 6.5h3v3H6zM1 12h3v3H1zM6 12h3v3H6z" /></svg>
  </button>`;
}

function placeAt(list, at, y) {
  const middles = [...list.children].map((line) => {
    const { top, height } = line.getBoundingClientRect();
    return top + height / 2;
  });
  let to = at;
  while (to > 0 && y < middles[to - 1]) to -= 1;
  while (to < middles.length - 1 && y > middles[to + 1]) to += 1;
  return to;
}

function scroller(element) {
  for (let box = element; box && box !== document.body; box = box.parentElement) {
    if (box.scrollHeight > box.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(box).overflowY)) return box;
  }
  return document.scrollingElement;
}
