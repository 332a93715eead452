// The projector's page: everything to be read from the last row, nothing to click. It shows what the stream tells.
import { html, render, useEffect, useState } from "../ui/html.js";
import { t, tNumber } from "../ui/i18n.js";
import { Tile } from "../ui/marks.js";
import { Distribution } from "../ui/distribution.js";
import { Board, Brand, Connection, Countdown, Podium } from "../ui/parts.js";
import { useGame } from "../ui/game.js";
import { Picture, useMoment } from "../ui/question.js";
import { Fit } from "./fit.js";

const NAMES_MAX = 60;
const BOARD_MAX = 8;

/** The token comes in the address, which is cleared at once: it must not stand on the wall, nor in a history. */
function arrive() {
  const gameId = location.pathname.split("/")[2];
  const key = `quizcast.screen.${gameId}`;
  const token = new URLSearchParams(location.search).get("token") ?? sessionStorage.getItem(key) ?? "";
  sessionStorage.setItem(key, token);
  history.replaceState(null, "", location.pathname);
  return { gameId, token };
}

function Screen({ gameId, token }) {
  const { view, connection, now } = useGame({ gameId, token });
  if (connection.state === "refused") return html`<main class="middle stack fill centred"><h1>${t("screen.refused")}</h1><p>${t("screen.refused_hint")}</p></main>`;
  if (!view.phase) return html`<main class="middle stack fill centred"><h1 class="muted">${t("connection.connecting")}</h1></main>`;
  return html`<div class="screen">
    <header>
      <${Brand} href="#" />
      ${view.title && html`<span class="muted" dir="auto">${view.title}</span>`}
      ${view.phase !== "lobby" && view.phase !== "finished" && view.pin && html`<span class="push">${t("screen.join_at", { host: location.host })} <b class="small-pin">${view.pin}</b></span>`}
    </header>
    <${Phase} view=${view} now=${now} />
    <footer class="muted">
      <span class="number">${t("play.participants", { n: view.participants ?? 0 })}</span>
      <span class="push"><${Connection} ...${connection} /></span>
    </footer>
  </div>`;
}

function Phase({ view, now }) {
  if (view.phase === "finished" && view.finished) return html`<${End} finished=${view.finished} />`;
  if (view.phase === "lobby" || !view.question) return html`<${Lobby} view=${view} />`;
  if (view.phase === "question") return html`<${Ask} key=${view.question.index} view=${view} now=${now} />`;
  if (view.leaderboard) return html`<${Standing} leaderboard=${view.leaderboard} />`;
  return html`<${Closed} view=${view} />`;
}

function Lobby({ view }) {
  const names = (view.joined ?? []).slice(-NAMES_MAX);
  return html`<${Fit}>
    <div class="lobby">
      <div class="stack">
        <h1 class="address">${t("screen.go_to", { host: location.host })}</h1>
        <p class="muted">${t("screen.enter_pin")}</p>
        <p class="pin" aria-label=${t("screen.pin_is", { pin: view.pin })}>${grouped(view.pin)}</p>
      </div>
      <img class="qr" src=${`/qr/${view.pin}.svg`} alt=${t("screen.qr")} />
    </div>
    <ul class="names" aria-live="polite">
      ${names.map((name, place) => html`<li class="chip pops" key=${`${place}${name}`} dir="auto">${name}</li>`)}
    </ul>
    ${!view.participants && html`<p class="muted">${t("screen.nobody_yet")}</p>`}
  <//>`;
}

function grouped(pin) {
  return pin ? `${pin.slice(0, 3)}\u2009${pin.slice(3)}` : "";
}

function Ask({ view, now }) {
  const { question, progress } = view;
  const open = useMoment(question.opens_at, now);
  if (!open) {
    return html`<${Fit} class="centred">
      <p class="muted">${t("play.question_of", { index: question.index + 1, count: question.count })}</p>
      <p class="big-number pops">${t("play.ready")}</p>
    <//>`;
  }
  const hidden = view.questionOn === "phones";
  const answered = progress?.index === question.index ? progress : null;
  return html`<${Fit} class="comes">
    <div class="row"><span class="muted">${t("play.question_of", { index: question.index + 1, count: question.count })}</span>
      <span class="push number">${answered ? t("screen.answered", { n: answered.answered, all: answered.eligible }) : ""}</span></div>
    ${hidden
      ? html`<h1>${t("screen.look_at_phone")}</h1>`
      : html`<h1 dir="auto" class="prompt">${question.prompt}</h1>
          <${Picture} url=${question.media_url} />
          <${Choices} question=${question} />`}
    <${Countdown} from=${question.opens_at} to=${question.closes_at} now=${now} />
  <//>`;
}

function Choices({ question }) {
  const texts = question.kind === "true_false" ? [t("answer.true"), t("answer.false")] : (question.choices ?? []).map((one) => one.text);
  if (!texts.length) return html`<p class="muted how">${t(`screen.how_${question.kind}`)}</p>`;
  return html`<div class="tiles">
    ${texts.map((text, choice) => html`<${Tile} key=${choice} choice=${choice} text=${text} />`)}
  </div>`;
}

function Closed({ view }) {
  const { question, closed } = view;
  return html`<${Fit} class="comes">
    <h1 dir="auto" class="prompt">${view.questionOn === "phones" ? t("play.distribution") : question.prompt}</h1>
    ${(question.kind === "numeric" || question.kind === "text") && html`<p class="big-number answer" dir="auto">${[closed.correct].flat()[0]}</p>`}
    <${Distribution} question=${question} closed=${closed} most=${6} />
    ${closed.explanation && html`<p class="note" data-tone="good" dir="auto">${closed.explanation}</p>`}
  <//>`;
}

function Standing({ leaderboard }) {
  return html`<${Fit}>
    <h1>${t("play.leaderboard")}</h1>
    <${Board} places=${leaderboard.top.slice(0, BOARD_MAX)} />
  <//>`;
}

function End({ finished }) {
  return html`<${Fit} class="centred">
    <h1>${t("play.end")}</h1>
    <${Podium} top=${finished.top} />
    <p class="muted">${t("screen.played", { n: finished.participants, questions: finished.questions })}</p>
  <//>`;
}

/** A wall's picture must not go dark in the middle of a game. */
function useWakeLock() {
  useEffect(() => {
    const ask = () => document.visibilityState === "visible" && navigator.wakeLock?.request("screen").catch(() => {});
    ask();
    document.addEventListener("visibilitychange", ask);
    return () => document.removeEventListener("visibilitychange", ask);
  }, []);
}

function App(where) {
  useWakeLock();
  return html`<${Screen} ...${where} />`;
}

document.title = `${t("title.screen")} · quizcast`;
render(html`<${App} ...${arrive()} />`, document.getElementById("app"));
