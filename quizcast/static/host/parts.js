// What several of the host's pages share.
import { createContext, html, useEffect, useLayoutEffect, useRef, useState } from "../ui/html.js";
import { t, tError } from "../ui/i18n.js";
import { Dialog } from "../ui/parts.js";

/** `useContext(Saying)` is `say` of the page's toasts. */
export const Saying = createContext(() => {});

/** An error as a sentence: in the reader's language where its code has one, else in the server's words. */
export function reason(error) {
  if (!("code" in error)) throw error; // a fault of the page itself
  if (error.status === 0) return t("host.no_connection");
  const known = tError(error.code);
  return known !== t("error.unknown") || !error.detail ? known : error.detail;
}

/** What a small set of things can be done with, behind a button with three dots. */
export function Menu({ label, children }) {
  const box = useRef(null);
  useEffect(() => {
    const shut = (event) => {
      if (!box.current?.open) return;
      if (event.type === "keydown") {
        if (event.key !== "Escape") return;
        box.current.querySelector("summary").focus();
      } else if (box.current.contains(event.target) && !event.target.closest("button, a")) return;
      else if (event.target.closest("summary")?.parentNode === box.current) return;
      box.current.open = false;
    };
    document.addEventListener("click", shut);
    document.addEventListener("keydown", shut);
    return () => (document.removeEventListener("click", shut), document.removeEventListener("keydown", shut));
  }, []);
  return html`<details class="menu" ref=${box}>
    <summary class="button quiet icon" aria-label=${label} title=${label}><span aria-hidden="true">⋯</span></summary>
    <div class="menu-list card">${children}</div>
  </details>`;
}

/** A question before something that cannot be taken back. */
export function Confirm({ title, text, yes, danger, onYes, onNo }) {
  return html`<${Dialog} title=${title} onClose=${onNo}>
    <p dir="auto">${text}</p>
    <div class="row end-row">
      <button type="button" class="button" onClick=${onNo}>${t("host.cancel")}</button>
      <button type="button" class=${danger ? "button danger" : "button primary"} onClick=${onYes}>${yes}</button>
    </div>
  <//>`;
}

/** A text field that is as high as its text. `line` takes no line ends. */
export function Grow({ value, onText, line, ...more }) {
  const area = useRef(null);
  useLayoutEffect(() => {
    const { style } = area.current;
    style.height = "auto";
    style.height = `${area.current.scrollHeight + 4}px`; // its borders
  }, [value]);
  const typed = (event) => onText(line ? event.target.value.replace(/\s*\n\s*/g, " ") : event.target.value);
  return html`<textarea rows="1" class="grow" dir="auto" ref=${area} value=${value} onInput=${typed} ...${more}></textarea>`;
}

/** Something that comes over the line: `[value, error, again]`; value is null until it is there. */
export function useFetched(fetching, deps) {
  const [seen, set] = useState({ value: null, error: null });
  const turn = useRef(0);
  const again = () => {
    const mine = ++turn.current;
    const put = (found) => mine === turn.current && set(found);
    return fetching().then((value) => put({ value, error: null }), (error) => put({ value: null, error }));
  };
  useEffect(() => {
    again();
    return () => (turn.current += 1);
  }, deps);
  return [seen.value, seen.error, again];
}
