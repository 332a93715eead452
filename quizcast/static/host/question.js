// The form of one question.
import { html } from "../ui/html.js";
import { t } from "../ui/i18n.js";
import { Field } from "../ui/parts.js";
import { Answers } from "./answers.js";
import { isScored, KINDS, LIMITS } from "./draft.js";
import { ImageField } from "./image.js";
import { Grow } from "./parts.js";

const SECONDS = [5, 10, 20, 30, 45, 60, 90, 120, 300]; // offered; any other may be typed
const POINTS = [0, 500, 1000, 2000];

/** `faults` are those to be shown; `onChange(question)`. */
export function QuestionForm({ question, faults, onChange }) {
  const put = (fields) => onChange({ ...question, ...fields });
  const wrong = (field) => {
    const found = faults.find((fault) => fault.field === field);
    return found && (found.message ?? t(`editor.fault_${found.code}`));
  };
  const amount = (name, label, hint, most, offered) => html`<${Field} id=${`q-${name}`} label=${label} hint=${hint} wrong=${wrong(name)}>
    <input id=${`q-${name}`} type="number" inputmode="numeric" min=${offered[0] && 1} max=${most} step="any" list=${`q-${name}-offered`} value=${question[name]}
      aria-invalid=${!!wrong(name)} aria-describedby=${`q-${name}-hint`} onInput=${({ target }) => put({ [name]: target.value })} />
    <datalist id=${`q-${name}-offered`}>${offered.map((value) => html`<option value=${value}></option>`)}</datalist>
  <//>`;
  const next = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    event.preventDefault();
    const form = event.currentTarget.closest(".question-form");
    form.querySelector(".lines textarea, [role=radio], #q-right")?.focus();
  };
  return html`<div class="question-form stack">
    <${Field} id="q-kind" label=${t("editor.kind")} hint=${t(`editor.kind_hint_${question.kind}`)}>
      <select id="q-kind" value=${question.kind} aria-describedby="q-kind-hint" onChange=${({ target }) => put({ kind: target.value })}>
        ${KINDS.map((kind) => html`<option value=${kind}>${t(`editor.kind_${kind}`)}</option>`)}
      </select>
    <//>
    <${Field} id="q-prompt" label=${t("editor.prompt")} wrong=${wrong("prompt")}>
      <${Grow} id="q-prompt" class="grow prompt-input" value=${question.prompt} maxlength=${LIMITS.prompt} aria-invalid=${!!wrong("prompt")}
        placeholder=${t(`editor.prompt_example_${question.kind}`)} onText=${(prompt) => put({ prompt })} onKeyDown=${next} />
    <//>
    <${ImageField} key=${question.key} url=${question.media_url} wrong=${wrong("media_url")} onUrl=${(media_url) => put({ media_url })} />
    <${Answers} key=${`${question.key}-${question.kind}`} question=${question} put=${put} wrong=${wrong} />
    <div class="pair">
      ${amount("seconds", t("editor.seconds"), t("editor.seconds_hint"), LIMITS.seconds, SECONDS)}
      ${isScored(question.kind) &&
      amount("points", t("editor.points"), t(Number(question.points) === 0 ? "editor.points_none" : "editor.points_hint"), LIMITS.points, POINTS)}
    </div>
    <${Field} id="q-explanation" label=${t("editor.explanation")} hint=${t("editor.explanation_hint")} wrong=${wrong("explanation")}>
      <${Grow} id="q-explanation" value=${question.explanation} maxlength=${LIMITS.explanation} aria-describedby="q-explanation-hint"
        onText=${(explanation) => put({ explanation })} />
    <//>
  </div>`;
}
