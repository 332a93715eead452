// What a question has brought, how everybody stands, and how it ended.
import { html } from "../ui/html.js";
import { t, tNumber } from "../ui/i18n.js";
import { Distribution } from "../ui/distribution.js";
import { Board, Main, Podium } from "../ui/parts.js";
import { Head, Said } from "./question.js";
import { spelled } from "./controls.js";

/** After `closed`: the participant's own result, once it is there, and what was right. */
export function Outcome({ question, closed, result }) {
  return html`<${Main} class="middle stack comes">
    <${Head} question=${question} />
    <${Verdict} result=${result} />
    <h1 class="prompt" dir="auto">${question.prompt}</h1>
    <${Right} question=${question} closed=${closed} />
    ${closed.explanation && html`<p class="card" dir="auto">${closed.explanation}</p>`}
    <section class="stack" aria-label=${t("play.distribution")}>
      <${Distribution} question=${question} closed=${closed} mine=${result?.answer} />
    </section>
  <//>`;
}

function Verdict({ result }) {
  if (!result) return html`<p class="verdict-card muted" role="status">${t("play.counting")}</p>`;
  const key = result.answer === null ? "none" : result.correct === null ? "thanks" : result.correct ? "right" : result.points ? "partly" : "wrong";
  return html`<div class="verdict-card pops" data-verdict=${key} role="status">
    <strong>${t(`play.verdict_${key}`)}</strong>
    <span class="row centred">
      ${result.points > 0 && html`<b class="number">+${tNumber(result.points)}</b>`}
      <span>${t("score.points", { n: result.score })}</span>
      <span>${t("score.place", { rank: result.rank })}</span>
      ${result.streak > 1 && html`<span>${t("score.streak", { n: result.streak })}</span>`}
    </span>
  </div>`;
}

/** What was right, where the bars cannot say it. */
function Right({ question, closed }) {
  const { correct } = closed;
  if (!["text", "numeric"].includes(question.kind)) return null;
  const shown = question.kind === "text" ? correct.slice(0, 3) : correct;
  return html`<section class="stack tight">
    <h2 class="small muted">${t("play.right_is", { n: spelled(question, shown).length })}</h2>
    <${Said} question=${question} value=${shown} />
  </section>`;
}

/** The leaderboard with one's own line, which is there even when it is not among the best. */
export function Standing({ leaderboard, me }) {
  const { top } = leaderboard;
  const shown = top.some((one) => one.participant_id === me.participant_id);
  const own = !shown && me.rank ? [{ ...me, gained: 0 }] : [];
  return html`<${Main} class="middle stack comes">
    <h1>${t("play.leaderboard")}</h1>
    <${Board} places=${[...top, ...own]} mine=${me.participant_id} />
    <p class="muted small">${t("play.participants", { n: leaderboard.participants })}</p>
  <//>`;
}

/** The end. */
export function End({ finished, me, onLeave }) {
  return html`<${Main} class="middle stack comes centred">
    <h1>${t("play.end")}</h1>
    <${Podium} top=${finished.top} />
    ${me.rank &&
    html`<p class="verdict-card" data-verdict="thanks">
      <strong>${t("play.your_place", { rank: me.rank, count: finished.participants })}</strong>
      <span>${t("score.points", { n: me.score })}</span>
    </p>`}
    <button type="button" class="button primary big" onClick=${onLeave}>${t("play.another")}</button>
  <//>`;
}
