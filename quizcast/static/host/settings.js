// What is said of a quiz as a whole.
import { html } from "../ui/html.js";
import { language, t } from "../ui/i18n.js";
import { Dialog, Field } from "../ui/parts.js";
import { LIMITS } from "./draft.js";
import { Grow } from "./parts.js";

const LANGUAGES = "ar bg bn ca cs da de el en es et eu fa fi fr he hi hr hu id it ja ko lt lv nb nl pl pt ro ru sk sl sq sr sv sw ta th tr uk ur vi zh".split(" ");

export function Settings({ draft, onChange, onClose }) {
  const names = new Intl.DisplayNames(language, { type: "language" });
  const tags = [...new Set([...LANGUAGES, draft.language])].map((tag) => [tag, nameOf(names, tag)]);
  tags.sort(([, a], [, b]) => a.localeCompare(b, language));
  return html`<${Dialog} title=${t("editor.settings")} onClose=${onClose}>
    <form class="stack" method="dialog">
      <${Field} id="settings-title" label=${t("editor.title")}>
        <input id="settings-title" dir="auto" maxlength=${LIMITS.title} placeholder=${t("editor.untitled")} value=${draft.title} onInput=${({ target }) => onChange({ title: target.value })} />
      <//>
      <${Field} id="settings-description" label=${t("editor.description")} hint=${t("editor.description_hint")}>
        <${Grow} id="settings-description" value=${draft.description} maxlength=${LIMITS.description} aria-describedby="settings-description-hint" onText=${(description) => onChange({ description })} />
      <//>
      <${Field} id="settings-language" label=${t("editor.language")} hint=${t("editor.language_hint")}>
        <select id="settings-language" value=${draft.language} aria-describedby="settings-language-hint" onChange=${({ target }) => onChange({ language: target.value })}>
          ${tags.map(([tag, name]) => html`<option value=${tag}>${name}</option>`)}
        </select>
      <//>
      <div class="row end-row"><button class="button primary">${t("editor.done")}</button></div>
    </form>
  <//>`;
}

function nameOf(names, tag) {
  try {
    return names.of(tag);
  } catch {
    return tag; // what came with a file need not be a language
  }
}
