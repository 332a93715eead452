// The list of a game's questions beside the controls: which were asked, which is on, which can be asked out of order.
import { html } from "../ui/html.js";
import { t } from "../ui/i18n.js";

/** `questions` as in the results; `onAsk(index)` asks one; `onFinish` ends the game early, where that is possible. */
export function Questions({ questions, view, disabled, onAsk, onFinish }) {
  const free = view.phase === "lobby" || view.phase === "closed";
  return html`<details class="card">
    <summary><h2>${t("control.questions")}</h2></summary>
    <ol class="stack tight asked">
      ${questions.map(({ index, prompt, opens_at: askedAt }) => {
        const state = view.phase === "question" && view.index === index ? "on" : askedAt !== undefined ? "done" : "ahead";
        return html`<li key=${index} class="row" data-state=${state}>
          <span class="number muted">${index + 1}</span>
          <span class="fill" dir="auto">${prompt}</span>
          ${state === "ahead"
            ? html`<button type="button" class="button quiet" disabled=${disabled || !free} aria-label=${t("control.ask", { n: index + 1 })}
                onClick=${() => onAsk(index)}>${t("control.ask_this")}</button>`
            : html`<span class="chip small" data-tone=${state === "on" ? "good" : ""}>${t(`control.question_${state}`)}</span>`}
        </li>`;
      })}
    </ol>
    ${onFinish && html`<button type="button" class="button danger" disabled=${disabled} onClick=${onFinish}>${t("control.finish_now")}</button>`}
  </details>`;
}
