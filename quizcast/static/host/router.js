// Which page of /host is shown: the address decides, and links change it without a load. A page with something unsaved
// sets a guard, which is asked before another page is shown.
import { html, useEffect, useState } from "../ui/html.js";

const changes = new EventTarget();
let guard = null;
let here = location.pathname + location.search;

/** Show another address. Gives false when the page's guard wants to stay. */
export async function navigate(to, { replace = false } = {}) {
  if (!(await mayLeave())) return false;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  changed();
  return true;
}

/** Another address for the page that is shown: a new quiz has got its id. */
export function rename(to) {
  history.replaceState(null, "", to);
  here = to;
}

/** While a component is there, `ask()` (→ whether to leave, or a promise of it) is asked first. */
export function useGuard(ask) {
  useEffect(() => {
    guard = ask;
    return () => guard === ask && (guard = null);
  }, [ask]);
}

/** The present path. */
export function usePath() {
  const [path, set] = useState(location.pathname);
  useEffect(() => {
    const look = () => set(location.pathname);
    changes.addEventListener("change", look);
    return () => changes.removeEventListener("change", look);
  }, []);
  return path;
}

/** A link's `onClick` that goes to another page of /host without a load; with a modifier key it is the browser's. */
export function follow(href) {
  return (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || event.button) return;
    event.preventDefault();
    navigate(href);
  };
}

/** A link to another page of /host. */
export function Link({ href, children, ...more }) {
  return html`<a href=${href} onClick=${follow(href)} ...${more}>${children}</a>`;
}

async function mayLeave() {
  return !guard || (await guard());
}

function changed() {
  here = location.pathname + location.search;
  scrollTo(0, 0);
  changes.dispatchEvent(new Event("change"));
}

addEventListener("popstate", async () => {
  const wanted = location.pathname + location.search;
  if (guard) history.pushState(null, "", here); // stay until the guard has spoken
  if (!(await mayLeave())) return;
  if (location.pathname + location.search !== wanted) history.replaceState(null, "", wanted);
  changed();
});
