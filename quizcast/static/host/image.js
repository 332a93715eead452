// A question's image: an address, or a file that is chosen, dropped or pasted and then lies with quizcast.
import { html, useRef, useState } from "../ui/html.js";
import { t } from "../ui/i18n.js";
import { LIMITS } from "./draft.js";
import { reason } from "./parts.js";
import { api } from "./session.js";

const TYPES = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"];
const MIB = 2; // the server's limit unless it is set otherwise
const SIDE_PX = 1600; // more than any phone or projector shows of it
const QUALITY = 0.85;
const TIMEOUT_MS = 60_000;

export function ImageField({ url, wrong, onUrl }) {
  const [busy, work] = useState(false);
  const [fault, fail] = useState(null);
  const [over, hover] = useState(false);
  const chooser = useRef(null);
  const take = async (file) => {
    if (!file) return;
    fail(null);
    work(true);
    try {
      onUrl(await uploaded(file));
    } catch (error) {
      fail(error.said ?? (error.status === 413 ? tooLarge(file) : reason(error)));
    }
    work(false);
  };
  const drop = (event) => {
    hover(false);
    const [file] = event.dataTransfer.files;
    if (!file) return; // a picture dragged from another page brings its address along
    event.preventDefault();
    event.stopPropagation();
    take(file);
  };
  const paste = (event) => {
    const [file] = event.clipboardData.files;
    if (!file) return;
    event.preventDefault();
    take(file);
  };
  const dragged = (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    hover(true);
  };
  const said = fault ?? wrong;
  return html`<div class="field image-field" data-over=${over} onDragOver=${dragged} onDragLeave=${() => hover(false)} onDrop=${drop} onPaste=${paste}>
    <label for="q-image">${t("editor.image")}</label>
    <div class="joined">
      <input id="q-image" type="text" inputmode="url" autocomplete="off" spellcheck=${false} maxlength=${LIMITS.url} placeholder="https://…" value=${url}
        aria-invalid=${!!said} aria-describedby="q-image-hint" onInput=${({ target }) => (fail(null), onUrl(target.value))} />
      ${url
        ? html`<button type="button" class="button quiet danger" onClick=${() => (fail(null), onUrl(""))}>${t("editor.image_remove")}</button>`
        : html`<button type="button" class="button quiet" disabled=${busy} onClick=${() => chooser.current.click()}>${t("editor.image_choose")}</button>`}
    </div>
    <input ref=${chooser} type="file" class="unseen" tabindex="-1" aria-hidden="true" accept=${TYPES.join(",")} data-part="image-file"
      onChange=${({ target }) => (take(target.files[0]), (target.value = ""))} />
    <p class="hint" id="q-image-hint">${busy ? t("editor.image_sending") : t("editor.image_hint", { n: MIB })}</p>
    ${said && html`<p class="wrong" role="alert">${said}</p>`}
    ${url && !wrong && html`<${Thumb} key=${url} url=${url} />`}
  </div>`;
}

function Thumb({ url }) {
  const [broken, mark] = useState(false);
  if (broken) return html`<p class="wrong" role="alert">${t("editor.image_broken")}</p>`;
  return html`<img class="thumb" src=${url} alt="" referrerpolicy="no-referrer" onError=${() => mark(true)} />`;
}

/** The address of a file, which is sent; photos are made smaller before. Throws `ApiError`, or an error with `said`. */
async function uploaded(file) {
  if (!TYPES.includes(file.type)) throw refusal(t("editor.image_type"));
  const blob = await smaller(file);
  if (blob.size > MIB * 2 ** 20) throw refusal(tooLarge(blob));
  const media = await api("POST", "/media", { body: blob, timeoutMs: TIMEOUT_MS });
  return media.url;
}

function refusal(said) {
  return Object.assign(new Error(said), { said });
}

function tooLarge({ size }) {
  return t("editor.image_too_large", { n: MIB, size: Math.ceil((size / 2 ** 20) * 10) / 10 });
}

/** A still picture with no more pixels than are of use; what may move stays as it is. */
async function smaller(file) {
  if (file.type === "image/gif" || file.type === "image/avif") return file;
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) throw refusal(t("editor.image_type"));
  const scale = Math.min(1, SIDE_PX / Math.max(bitmap.width, bitmap.height));
  if (scale === 1 && file.size <= (MIB * 2 ** 20) / 2) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const type = file.type === "image/png" ? "image/webp" : file.type; // with its transparency, and a tenth of the size
  const made = await new Promise((resolve) => canvas.toBlob(resolve, type, QUALITY));
  return made && TYPES.includes(made.type) && made.size < file.size ? made : file;
}
