// The marks by which answers are told apart without colour: a shape and a letter each, in the order of the choices.
import { html } from "./html.js";

export const LETTERS = ["A", "B", "C", "D", "E", "F", "G", "H"];

// Drawn in a square of 24 by 24.
const SHAPES = [
  "M12 2 23 21H1Z", // triangle
  "M12 1 23 12 12 23 1 12Z", // diamond
  "M12 1.5a10.5 10.5 0 1 0 0 21 10.5 10.5 0 0 0 0-21Z", // circle
  "M3 3h18v18H3Z", // square
  "M12 1l3.2 7.4 8 .7-6 5.3 1.8 7.9L12 18.1 5 22.3l1.8-7.9-6-5.3 8-.7Z", // star
  "M12 1 23 9.3 18.8 22H5.2L1 9.3Z", // pentagon
  "M8 2h8v6h6v8h-6v6H8v-6H2V8h6Z", // cross
  "M6.5 2.5h11L23 12l-5.5 9.5h-11L1 12Z", // hexagon
];

/** An answer's mark; `choice` counts from 0. Hidden from screen readers: the letter is in the answer's own name. */
export function Mark({ choice }) {
  const place = choice % SHAPES.length;
  return html`<span class="mark" data-choice=${place} aria-hidden="true">
    <svg viewBox="0 0 24 24"><path d=${SHAPES[place]} /></svg><b>${LETTERS[place]}</b>
  </span>`;
}

/** An answer as a tile: a button where `onPick` is given, else only to be seen. `verdict` is true, false or null. */
export function Tile({ choice, text, onPick, pressed, role, disabled, dim, mine, verdict = null, label }) {
  const place = choice % SHAPES.length;
  const inside = html`<${Mark} choice=${choice} />
    <span dir="auto">${text}</span>
    ${verdict !== null && html`<span class="verdict" aria-hidden="true">${verdict ? "✓" : "✗"}</span>`}`;
  if (!onPick) {
    return html`<div class="tile" data-choice=${place} data-dim=${dim} data-mine=${mine}>${inside}</div>`;
  }
  const state = role ? { role, "aria-checked": !!pressed } : { "aria-pressed": !!pressed };
  return html`<button type="button" class="tile" ...${state} data-choice=${place} data-dim=${dim} disabled=${disabled}
    aria-label=${label ?? `${LETTERS[place]}: ${text}`} onClick=${onPick}>${inside}</button>`;
}
