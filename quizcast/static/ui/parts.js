// What several pages show alike. Each part is given plain values; none of them knows where those come from.
import { html, useEffect, useId, useLayoutEffect, useRef, useState } from "./html.js";
import { t, tNumber } from "./i18n.js";

const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const TOAST_MS = 5000;
const ACTION_MS = 15_000; // with a button that is reached by keyboard too

/** quizcast's sign and name, which lead home. */
export function Brand({ href = "/", onClick }) {
  return html`<a class="brand" href=${href} onClick=${onClick}>
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <path fill="var(--a)" d="M9 2 17 15H1Z" /><path fill="var(--b)" d="m24 1 7 7-7 7-7-7Z" />
      <circle fill="var(--c)" cx="9" cy="24" r="7" /><path fill="var(--d)" d="M17.5 17.5h13v13h-13Z" />
    </svg>quizcast</a>`;
}

/** What a page is about. When a change has taken away what had the focus, it takes it, so that no keyboard is left behind. */
export function Main({ children, ...more }) {
  const main = useRef(null);
  useEffect(() => {
    const look = () => document.activeElement === document.body && main.current?.focus({ preventScroll: true });
    const changes = new MutationObserver(look);
    changes.observe(main.current, { childList: true, subtree: true });
    look();
    return () => changes.disconnect();
  }, []);
  return html`<main tabindex="-1" ref=${main} ...${more}>${children}</main>`;
}

/** How the line is: `state` and `fault` are those of `Game.connection`. */
export function Connection({ state, fault }) {
  if (state === "over") return null;
  const key = fault && state !== "live" ? `connection.${fault}` : `connection.${state}`;
  return html`<span class="connection" data-state=${state} role="status">${t(key)}</span>`;
}

/** A label with its control (the child, whose id it takes), a hint, and what is wrong with it. */
export function Field({ id, label, hint, wrong, children }) {
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${children}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${wrong && html`<p class="wrong" id=${`${id}-wrong`} role="alert">${wrong}</p>`}
  </div>`;
}

/**
 * The time that is left between two moments of the server's clock. Seconds are told to screen readers at 10 and 5 only.
 * `now` is a function; it is asked at every frame, or once a second where motion is to be reduced.
 */
export function Countdown({ from, to, now }) {
  const bar = useRef(null);
  const [left, setLeft] = useState(seconds(to - now()));
  useEffect(() => {
    let frame, timer;
    const draw = () => {
      const share = Math.max(0, Math.min(1, (to - now()) / (to - from)));
      bar.current?.style.setProperty("--left", share.toFixed(4));
      setLeft(seconds(to - now()));
      if (to <= now()) return;
      if (STILL.matches) timer = setTimeout(draw, 1000);
      else frame = requestAnimationFrame(draw);
    };
    draw();
    return () => (cancelAnimationFrame(frame), clearTimeout(timer));
  }, [from, to, now]);
  return html`<div class="countdown" ref=${bar} data-late=${left <= 5}>
    <div class="track"></div>
    <output role="timer" aria-live="off">${tNumber(left)}</output>
    <span class="unseen" role="status">${left === 10 || left === 5 ? t("time.left", { n: left }) : ""}</span>
  </div>`;
}

function seconds(ms) {
  return Math.max(0, Math.ceil(ms / 1000));
}

/** Lines of the leaderboard, each moving to its new place. `mine` is a participant's id. */
export function Board({ places, mine, gained = true }) {
  const list = useRef(null);
  const before = useRef(new Map());
  useLayoutEffect(() => {
    const tops = new Map();
    for (const line of list.current?.children ?? []) {
      const { id } = line.dataset;
      const top = line.offsetTop;
      const was = before.current.get(id);
      if (was !== undefined && was !== top && !STILL.matches && line.animate) {
        const options = { duration: 600, easing: "cubic-bezier(.2,.8,.2,1)" };
        line.animate([{ transform: `translateY(${was - top}px)` }, { transform: "none" }], options);
      }
      tops.set(id, top);
    }
    before.current = tops;
  }, [places]);
  return html`<ol class="board" ref=${list}>
    ${places.map(
      (one) => html`<li key=${one.participant_id} data-id=${one.participant_id} data-mine=${one.participant_id === mine}>
        <span class="rank number">${tNumber(one.rank)}</span>
        <span dir="auto">${one.nickname}</span>
        <span class="gained number">${gained && one.gained > 0 ? `+${tNumber(one.gained)}` : ""}</span>
        <span class="score">${tNumber(one.score)}</span>
      </li>`,
    )}
  </ol>`;
}

/** The best three. Who shares a rank stands on a step of the same height. */
export function Podium({ top }) {
  const best = top.slice(0, 3);
  return html`<ol class="podium">
    ${best.map(
      (one, place) => html`<li key=${one.participant_id} data-place=${place + 1} class="comes">
        <span class="name" dir="auto">${one.nickname}</span>
        <span class="small muted number">${t("score.points", { n: one.score })}</span>
        <span class="step" aria-label=${t("score.place", { rank: one.rank })}>${tNumber(one.rank)}</span>
      </li>`,
    )}
  </ol>`;
}

/** A window over the page that has to be answered. Escape and the backdrop close it, unless it is `lasting`. */
export function Dialog({ title, onClose, lasting = false, wide = false, children }) {
  const dialog = useRef(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => {
      dialog.current?.close();
      if (before?.isConnected) before.focus();
    };
  }, []);
  const closed = () => {
    if (!dialog.current) return; // it has gone by itself
    if (lasting) dialog.current.showModal();
    else onClose();
  };
  return html`<dialog ref=${dialog} class=${wide ? "wide" : null} aria-labelledby=${id} onClose=${closed}
    onCancel=${(event) => lasting && event.preventDefault()}
    onClick=${(event) => !lasting && event.target === dialog.current && onClose()}>
    <div class="stack"><h2 id=${id}>${title}</h2>${children}</div>
  </dialog>`;
}

/** A sentence that shows for a while and is read out: `say(text)`, or with a button: `say(text, { label, act })`. */
export function useToasts() {
  const [toasts, set] = useState([]);
  const drop = useRef((id) => set((all) => all.filter((one) => one.id !== id)));
  const say = useRef((text, action = null) => {
    const id = Math.random();
    set((all) => [...all.slice(-2), { id, text, action }]);
    setTimeout(drop.current, action ? ACTION_MS : TOAST_MS, id);
  });
  const shown = html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.map(
      ({ id, text, action }) => html`<p class="toast comes" key=${id}>${text}
        ${action && html` <button type="button" onClick=${() => (drop.current(id), action.act())}>${action.label}</button>`}</p>`,
    )}
  </div>`;
  return [shown, say.current];
}
