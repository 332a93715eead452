// A question on the phone: it is announced, opens for everybody at the same instant, is answered once.
import { html } from "../ui/html.js";
import { t, tError } from "../ui/i18n.js";
import { Tile } from "../ui/marks.js";
import { Countdown, Main } from "../ui/parts.js";
import { Picture, useMoment } from "../ui/question.js";
import { Control, spelled } from "./controls.js";

/**
 * `question` is the event's data, `now` the server's clock. `answer` is what was given: undefined, or
 * `{value, state: "sending" | "received" | "refused", code}`. `onAnswer(value)` gives it.
 */
export function Question({ question, now, answer, onAnswer }) {
  const open = useMoment(question.opens_at, now);
  const over = useMoment(question.closes_at, now);
  if (!open) {
    return html`<${Main} class="middle stack fill centred">
      <p class="muted">${t("play.question_of", { index: question.index + 1, count: question.count })}</p>
      <h1 class="pops">${t("play.ready")}</h1>
    <//>`;
  }
  return html`<${Main} class="middle stack comes">
    <${Head} question=${question} />
    <${Countdown} from=${question.opens_at} to=${question.closes_at} now=${now} />
    <h1 class="prompt" dir="auto">${question.prompt}</h1>
    <${Picture} url=${question.media_url} />
    ${answer ? html`<${Given} question=${question} answer=${answer} />` : html`<${Control} question=${question} disabled=${over} onAnswer=${onAnswer} />`}
    ${!answer && over && html`<p class="note" role="status">${t("play.time_up")}</p>`}
  <//>`;
}

/** Which question it is, and what it is worth. */
export function Head({ question }) {
  return html`<p class="row small muted">
    <span>${t("play.question_of", { index: question.index + 1, count: question.count })}</span>
    <span class="push">${question.points ? t("score.worth", { n: question.points }) : t(`kind.${unscored(question.kind)}`)}</span>
  </p>`;
}

function unscored(kind) {
  return kind === "poll" || kind === "word_cloud" ? kind : "practice";
}

/** What was answered, and how far it has come: nothing is called received before the server has said so. */
function Given({ question, answer }) {
  return html`<div class="stack">
    <p class="chip verdict-chip" data-tone=${TONES[answer.state]} role="status">
      ${answer.state === "refused" ? tError(answer.code) : t(`play.${answer.state}`)}
    </p>
    <${Said} question=${question} value=${answer.value} />
    ${answer.state === "received" && html`<p class="muted">${t("play.wait_for_others")}</p>`}
  </div>`;
}

const TONES = { sending: "warn", received: "good", refused: "bad" };

/** An answer as it was given. */
export function Said({ question, value }) {
  const parts = spelled(question, value);
  return html`<div class="stack tight">
    ${parts.map(({ text, choice }) =>
      choice === undefined
        ? html`<p class="card said" dir="auto">${text}</p>`
        : html`<${Tile} choice=${choice} text=${text} mine=${true} />`,
    )}
  </div>`;
}
