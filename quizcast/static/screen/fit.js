// What is on the wall is never cut off: where it is too much for its area, all of it becomes smaller, as little as it takes.
import { html, useEffect, useLayoutEffect, useRef } from "../ui/html.js";

const SMALLEST = 0.2; // a prompt and eight choices, all as long as they may be
const STEPS = 6;

/** The main part of the screen. `--fit` scales everything in it; style.css has its unit multiplied by it. */
export function Fit({ children, ...more }) {
  const main = useRef(null);
  const fit = useRef(null);
  fit.current = () => {
    const { style } = main.current;
    const fits = (scale) => {
      style.setProperty("--fit", scale);
      return main.current.scrollHeight <= main.current.clientHeight && main.current.scrollWidth <= main.current.clientWidth;
    };
    if (fits(1)) return;
    let [small, large] = [SMALLEST, 1];
    for (let step = 0; step < STEPS; step += 1) {
      const scale = (small + large) / 2;
      if (fits(scale)) small = scale;
      else large = scale;
    }
    fits(small);
  };
  useLayoutEffect(() => fit.current());
  useEffect(() => {
    const again = () => fit.current();
    addEventListener("resize", again);
    main.current.addEventListener("load", again, true); // of a picture
    return () => removeEventListener("resize", again);
  }, []);
  return html`<main ref=${main} ...${more}>${children}</main>`;
}
