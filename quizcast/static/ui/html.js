// The door to preact: everything that a page needs of it comes from here, so that a page knows no vendored file.
import { h, render, Component, Fragment, createContext } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export * from "../vendor/hooks.js";
export { render, Component, Fragment, createContext };

/** Markup as a tagged template: html`<p class="note">${text}</p>`. What is put in is text and never markup. */
export const html = htm.bind(h);
