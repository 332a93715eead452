// How a game went: each question with its distribution, everybody's place, and the files to take along.
import { html, useContext, useEffect, useMemo, useState } from "../ui/html.js";
import { t, tNumber, tTime } from "../ui/i18n.js";
import { Distribution } from "../ui/distribution.js";
import { Podium } from "../ui/parts.js";
import { Chart } from "../ui/chart.js";
import { reason, Saying, useFetched } from "./parts.js";
import { Link } from "./router.js";
import { api, freshen } from "./session.js";
import { figures } from "./figures.js";

const HARD_MAX = 3;
const ROWS = 50;
const SETTLING_MS = 2000; // the last answers of a game reach the results within a second or two

export function Report({ gameId }) {
  const [results, error, again] = useFetched(() => api("GET", `/games/${gameId}/results`, { timeoutMs: 60_000 }), [gameId]);
  useEffect(() => {
    const timer = setTimeout(again, SETTLING_MS);
    return () => clearTimeout(timer);
  }, [gameId]);
  const made = useMemo(() => results && figures(results), [results]);
  if (error && !made) return html`<p class="middle note" data-tone="bad" role="alert">${reason(error)}</p>`;
  if (!made) return html`<p class="middle muted" role="status">${t("host.loading")}</p>`;
  const { game, ranking } = results;
  return html`<div class="wide stack report">
    <header class="row">
      <div class="stack tight">
        <h1 dir="auto">${game.title}</h1>
        <p class="muted">${tTime(game.created_at)} · ${t("play.participants", { n: ranking.length })}</p>
      </div>
      <span class="push row"><${Download} gameId=${gameId} kind="csv" /><${Download} gameId=${gameId} kind="xlsx" />
        <${Link} class="button" href="/host">${t("host.to_quizzes")}<//></span>
    </header>
    <div class="report-top">
      <section class="card stack"><h2>${t("report.podium")}</h2>
        ${ranking.length ? html`<${Podium} top=${ranking} />` : html`<p class="muted">${t("report.nobody")}</p>`}</section>
      <section class="card stack"><h2>${t("report.correct")}</h2><${Overview} questions=${made} />
        ${hardest(made).length > 0 && html`<h3>${t("report.hardest")}</h3><ol class="stack tight">${hardest(made).map(
          (one) => html`<li key=${one.index} class="row"><a class="fill" href=${`#q${one.index}`} dir="auto">${one.index + 1}. ${one.prompt}</a><b>${share(one.right)}</b></li>`,
        )}</ol>`}
      </section>
    </div>
    <section class="stack"><h2>${t("report.questions")}</h2>${made.map((one) => html`<${Asked} key=${one.index} one=${one} />`)}</section>
    <${Ranking} results=${results} />
  </div>`;
}

function hardest(made) {
  const marked = made.filter((one) => one.right !== null && one.right < 1);
  return marked.sort((a, b) => a.right - b.right).slice(0, HARD_MAX);
}

function share(value) {
  return value === null ? "–" : tNumber(value, { style: "percent" });
}

/** A download that the browser does by itself, by the cookie. */
function Download({ gameId, kind }) {
  const say = useContext(Saying);
  const fetchIt = async (event) => {
    event.preventDefault();
    const { href } = event.currentTarget;
    try {
      await freshen();
      location.assign(href);
    } catch (error) {
      say(reason(error));
    }
  };
  return html`<a class="button" download href=${`/api/v1/games/${gameId}/results?format=${kind}`} onClick=${fetchIt}>${t(`report.${kind}`)}</a>`;
}

function Overview({ questions }) {
  const marked = questions.filter((one) => one.right !== null);
  if (!marked.length) return html`<p class="muted">${t("report.nothing_marked")}</p>`;
  return html`<${Chart} labels=${marked.map((one) => tNumber(one.index + 1))} values=${marked.map((one) => Math.round(one.right * 100))}
    unit="%" most=${100} label=${t("report.correct")} />`;
}

function Asked({ one }) {
  return html`<article class="card stack" id=${`q${one.index}`}>
    <div class="row">
      <h3 class="fill" dir="auto">${one.index + 1}. ${one.prompt}</h3>
      ${one.asked
        ? html`<span class="chip">${t("report.answers", { n: one.answers })}</span>
            ${one.right !== null && html`<span class="chip" data-tone=${one.right < 0.4 ? "bad" : one.right > 0.8 ? "good" : ""}>${t("report.right", { share: share(one.right) })}</span>`}
            ${one.medianMs !== null && html`<span class="chip">${t("report.median", { seconds: tNumber(one.medianMs / 1000, { maximumFractionDigits: 1 }) })}</span>`}`
        : html`<span class="chip">${t("report.not_asked")}</span>`}
    </div>
    ${one.asked && html`<div class="report-asked"><${Distribution} question=${one} closed=${one} most=${20} />
      ${one.times.length > 1 && html`<${Chart} labels=${one.times.map(({ from }) => tNumber(from))} values=${one.times.map(({ count }) => count)} unit="" label=${t("report.times")} />`}
    </div>`}
  </article>`;
}

function Ranking({ results }) {
  const [most, more] = useState(ROWS);
  const [wanted, want] = useState("");
  const found = results.ranking.filter((one) => one.nickname.toLowerCase().includes(wanted.toLowerCase()));
  return html`<section class="stack">
    <div class="row"><h2>${t("report.participants")}</h2>
      <label class="push unseen" for="find">${t("report.find")}</label>
      <input id="find" type="search" class="find" placeholder=${t("report.find")} value=${wanted} onInput=${({ target }) => want(target.value)} /></div>
    <div class="scroll" tabindex="0" role="region" aria-label=${t("report.participants")}>
      <table>
        <thead><tr><th scope="col" class="end">${t("report.rank")}</th><th scope="col">${t("report.name")}</th><th scope="col" class="end">${t("report.score")}</th>
          ${results.questions.map(({ index }) => html`<th scope="col" key=${index} class="centre">${index + 1}</th>`)}</tr></thead>
        <tbody>${found.slice(0, most).map(
          (one) => html`<tr key=${one.participant_id}><td class="end number">${tNumber(one.rank)}</td><th scope="row" dir="auto">${one.nickname}</th>
            <td class="end number">${tNumber(one.score)}</td>${one.answers.map((answer, index) => html`<${Cell} key=${index} answer=${answer} />`)}</tr>`,
        )}</tbody>
      </table>
    </div>
    ${found.length > most && html`<button type="button" class="button" onClick=${() => more(most + 4 * ROWS)}>${t("control.more_people")}</button>`}
  </section>`;
}

function Cell({ answer }) {
  const state = answer === null ? "none" : answer.correct === null ? "given" : answer.correct ? "right" : answer.points ? "partly" : "wrong";
  return html`<td class="centre cell" data-state=${state}><span aria-hidden="true">${SIGNS[state]}</span><span class="unseen">${t(`report.cell_${state}`)}</span></td>`;
}

const SIGNS = { none: "·", given: "○", right: "✓", partly: "½", wrong: "✗" };
