// What every page that shows a question needs: its picture, and the moment at which it opens.
import { html, useEffect, useState } from "./html.js";

/** A question's picture; one that does not come leaves no hole. */
export function Picture({ url }) {
  const [broken, setBroken] = useState(false);
  if (!url || broken) return null;
  return html`<img class="picture" src=${url} alt="" referrerpolicy="no-referrer" onError=${() => setBroken(true)} />`;
}

/** Whether a moment of the server's clock has come; turns true by itself when it does. */
export function useMoment(at, now) {
  const [come, setCome] = useState(at <= now());
  useEffect(() => {
    let timer;
    // The clock may have been corrected meanwhile, and long timers are late: look again.
    const look = () => {
      const left = at - now();
      setCome(left <= 0);
      if (left > 0) timer = setTimeout(look, left);
    };
    look();
    return () => clearTimeout(timer);
  }, [at, now]);
  return come;
}
