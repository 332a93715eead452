// A question as a participant gets it, drawn by the parts of the play page. It is to be looked at: nothing in it answers.
import { html } from "../ui/html.js";
import { t, tNumber } from "../ui/i18n.js";
import { Picture } from "../ui/question.js";
import { Control } from "../play/controls.js";
import { Head } from "../play/question.js";
import { hasChoices, isScored, number } from "./draft.js";

/** `index` of `count`; the question is a draft. */
export function Preview({ question, index, count }) {
  const seen = asSent(question, index, count);
  return html`<figure class="phone" aria-label=${t("editor.preview")}>
    <div class="phone-screen stack" inert>
      <${Head} question=${seen} />
      <div class="countdown"><div class="track"></div><output>${tNumber(Math.ceil(Number(question.seconds) || 0))}</output></div>
      <p class="prompt" dir="auto">${seen.prompt}</p>
      <${Picture} key=${seen.media_url} url=${seen.media_url} />
      <${Control} key=${`${seen.kind}-${seen.choices?.length}`} question=${seen} onAnswer=${() => {}} />
    </div>
  </figure>`;
}

/** The draft as the event `question` would have it; an order is shown turned round, as it may come. */
function asSent(question, index, count) {
  const { kind } = question;
  const seen = {
    index,
    count,
    kind,
    prompt: question.prompt.trim() || t("editor.no_prompt"),
    media_url: question.media_url.trim(),
    points: isScored(kind) ? Number(question.points) || 0 : 0,
  };
  if (hasChoices(kind)) {
    const written = question.choices.filter(({ text }) => text.trim());
    const texts = (written.length < 2 ? question.choices : written).map(({ text }) => ({ text: text.trim() || "…" }));
    seen.choices = kind === "order" ? texts.reverse() : texts;
  }
  if (kind === "numeric") {
    for (const [name, field] of [["min", "low"], ["max", "high"]]) {
      const value = number(question[field]);
      if (Number.isFinite(value)) seen[name] = value;
    }
  }
  return seen;
}
