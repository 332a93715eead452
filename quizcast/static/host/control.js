// Leading a game. What is shown comes from the stream, so a second device shows the same, and closing this one harms
// nothing. One button is the next thing to do; the space bar presses it.
import { html, useContext, useEffect, useRef, useState } from "../ui/html.js";
import { t } from "../ui/i18n.js";
import { command } from "../quizcast.js";
import { Distribution } from "../ui/distribution.js";
import { useGame } from "../ui/game.js";
import { Board, Connection, Countdown, Podium } from "../ui/parts.js";
import { useMoment } from "../ui/question.js";
import { reason, Saying, useFetched } from "./parts.js";
import { People } from "./people.js";
import { Questions } from "./questions.js";
import { api, COOKIES, freshen } from "./session.js";

const LOOK_MS = 3000; // between two looks at the connections and the lock
const MORE_MS = 15_000;
const FRESH_MS = 400; // for so long a button that has become another one takes no press: it was meant for the one before

/** `game` as the API gave it; `onReport` leaves for the report. */
export function Control({ game, onReport }) {
  const gameId = game.id;
  const { view, connection, now } = useGame({ gameId, headers: COOKIES, renew: async () => (await freshen(), true) });
  const [sent, send] = useState(null); // the step of the game at which a command went out that has not come to its end
  const [skipped, skip] = useState(0); // questions that are passed over when the next is asked
  const [health, look] = useHealth(gameId, game.locked);
  const [asked] = useFetched(() => api("GET", `/games/${gameId}/results`), [gameId, view.index, view.phase]);
  const say = useContext(Saying);

  // A new step is a new button: what is pressed there counts, although the last reply may still be on its way.
  const step = [view.phase, view.index, view.leaderboard !== null].join();
  const busy = sent === step;
  const held = useFresh(step) || busy;
  const act = async (action, body) => {
    if (busy) return;
    send(step);
    try {
      await freshen();
      await command("", gameId, action, body);
      if (action === "open") skip(0);
    } catch (error) {
      say(reason(error));
    }
    send((now) => (now === step ? null : now));
    look();
  };
  const ahead = upcoming(asked, view);
  const next = whatNext(view, ahead, skipped, act);
  const goOn = () => !held && next?.go();
  useSpace(goOn);

  return html`<div class="wide control">
    <div class="stack control-main">
      <${Head} game=${game} view=${view} connection=${connection} health=${health} />
      <${Phase} view=${view} now=${now} />
      <div class="next-bar">
        ${view.phase === "finished"
          ? html`<button type="button" class="button primary big" onClick=${onReport}>${t("control.report")}</button>`
          : next && // not disabled, which would take the focus from it
            html`<button type="button" class="button primary big" aria-disabled=${held} onClick=${goOn}>${next.label}</button>`}
        ${view.phase === "question" &&
        html`<button type="button" class="button" disabled=${held}
          onClick=${() => act("extend", { closes_at: view.question.closes_at + MORE_MS })}>${t("control.more_time", { n: MORE_MS / 1000 })}</button>`}
        ${view.phase === "closed" &&
        view.leaderboard === null &&
        view.question.points > 0 &&
        html`<button type="button" class="button" disabled=${held} onClick=${() => openNext(ahead, skipped, act)}>
          ${t(ahead.length > skipped ? "control.no_board" : "control.finish")}</button>`}
        ${["lobby", "closed"].includes(view.phase) &&
        ahead.length > skipped + 1 &&
        html`<button type="button" class="button quiet" disabled=${held} onClick=${() => skip(skipped + 1)}>
          ${t("control.skip", { n: ahead[skipped].index + 1 })}</button>`}
        <span class="muted small keys">${t("control.space")}</span>
      </div>
    </div>
    <aside class="stack control-side">
      <${Questions} questions=${asked?.questions ?? []} view=${view} disabled=${busy} onAsk=${(question) => act("open", { question })}
        onFinish=${view.phase === "closed" ? () => act("finish") : null} />
      <${People} gameId=${gameId} view=${view} locked=${health.locked} onLock=${(locked) => act("lock", { locked })} />
    </aside>
  </div>`;
}

/** The questions that can still be asked in their order, behind the present one. */
function upcoming(asked, view) {
  const after = view.index ?? -1;
  return (asked?.questions ?? []).filter((one) => one.index > after && one.opens_at === undefined);
}

function openNext(ahead, skipped, act) {
  const next = ahead[skipped];
  return next ? act("open", { question: next.index }) : act("finish");
}

/** The one thing to do next: what its button says, and what it does. */
function whatNext(view, ahead, skipped, act) {
  const next = ahead[skipped];
  const ask = next && { label: t("control.ask", { n: next.index + 1 }), go: () => act("open", { question: next.index }) };
  const finish = { label: t("control.finish"), go: () => act("finish") };
  switch (view.phase) {
    case "lobby":
      return ask;
    case "question":
      return { label: t("control.close"), go: () => act("close") };
    case "closed":
      if (view.leaderboard === null && view.question?.points) return { label: t("control.leaderboard"), go: () => act("leaderboard") };
      return ask ?? finish;
    default:
      return null;
  }
}

/** Whether the step has only just come: by another device, by the clock, or by the first of two clicks. */
function useFresh(step) {
  const [settled, settle] = useState(step);
  useEffect(() => {
    const timer = setTimeout(settle, FRESH_MS, step);
    return () => clearTimeout(timer);
  }, [step]);
  return settled !== step;
}

/** The space bar presses the button, unless it means something where the focus is. */
function useSpace(goOn) {
  const latest = useRef(null);
  latest.current = goOn;
  useEffect(() => {
    const press = (event) => {
      if (event.key !== " " || event.repeat || event.target.closest("button, a, input, select, textarea, summary, dialog")) return;
      event.preventDefault();
      latest.current();
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);
}

/** How the connections are, and whether the door is locked: asked now and then, since no event tells of them. */
function useHealth(gameId, locked) {
  const [health, set] = useState({ locked, healthy: null, slow: 0, gone: 0 });
  const look = useRef(async () => {});
  look.current = async () => {
    const [game, connections] = await Promise.all(
      [`/games/${gameId}`, `/games/${gameId}/connections`].map((path) => api("GET", path)),
    ).catch(() => []);
    if (connections) set({ locked: game.locked, ...connections });
  };
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && look.current(), LOOK_MS);
    look.current();
    return () => clearInterval(timer);
  }, [gameId]);
  return [health, () => look.current()];
}

function Head({ game, view, connection, health }) {
  const say = useContext(Saying);
  const show = async () => {
    // Opened at once, or the browser takes it for an advertisement; led to its address when that is known.
    const wall = open("", "_blank");
    try {
      const screen = await api("POST", `/games/${game.id}/screen`);
      const url = new URL(screen.url);
      wall.location.href = url.pathname + url.search;
    } catch (error) {
      wall?.close();
      say(reason(error));
    }
  };
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(game.join_url);
      say(t("control.copied"));
    } catch {
      say(game.join_url); // no clipboard without TLS: to be read, then
    }
  };
  return html`<header class="card stack">
    <div class="row">
      <h1 dir="auto">${view.title || game.title}</h1>
      <span class="push"><${Connection} ...${connection} /></span>
    </div>
    <div class="row">
      <span class="pin small-pin" aria-label=${t("screen.pin_is", { pin: game.pin })}>${game.pin}</span>
      <button type="button" class="button quiet" onClick=${copy}>${t("control.copy")}</button>
      <button type="button" class="button push" onClick=${show}>${t("control.screen")}</button>
    </div>
    ${health.healthy !== null &&
    html`<p class="row health">
      <span class="chip" data-tone="good">${t("control.healthy", { n: health.healthy })}</span>
      <span class="chip" data-tone=${health.slow ? "warn" : ""}>${t("control.slow", { n: health.slow })}</span>
      <span class="chip" data-tone=${health.gone ? "bad" : ""}>${t("control.gone", { n: health.gone })}</span>
    </p>`}
  </header>`;
}

function Phase({ view, now }) {
  switch (view.phase) {
    case "lobby":
      return html`<${Lobby} view=${view} />`;
    case "question":
      return html`<${Asking} key=${view.question.index} view=${view} now=${now} />`;
    case "closed":
      return html`<section class="stack card">
        <p class="muted small">${t("play.question_of", { index: view.index + 1, count: view.count })}</p>
        <h2 dir="auto">${view.question.prompt}</h2>
        <${Distribution} question=${view.question} closed=${view.closed} />
        ${view.leaderboard && html`<h3>${t("play.leaderboard")}</h3><${Board} places=${view.leaderboard.top} />`}
      </section>`;
    case "finished":
      return html`<section class="stack card"><h2>${t("play.end")}</h2><${Podium} top=${view.finished.top} /></section>`;
    default:
      return html`<section class="card"><p class="muted" role="status">${t("connection.connecting")}</p></section>`;
  }
}

function Lobby({ view }) {
  return html`<section class="stack card centred">
    <h2 class="number"><span role="status">${t("play.participants", { n: view.participants })}</span></h2>
    ${!view.participants && html`<p class="muted">${t("control.lobby_hint")}</p>`}
    <ul class="names">${view.joined.map((name, place) => html`<li class="chip pops" key=${`${place}${name}`} dir="auto">${name}</li>`)}</ul>
  </section>`;
}

function Asking({ view, now }) {
  const { question, progress } = view;
  const open = useMoment(question.opens_at, now);
  const [answered, all] = progress?.index === question.index ? [progress.answered, progress.eligible] : [0, view.participants];
  return html`<section class="stack card">
    <p class="muted small">${t("play.question_of", { index: question.index + 1, count: question.count })}</p>
    <h2 dir="auto">${question.prompt}</h2>
    ${open && html`<${Countdown} from=${question.opens_at} to=${question.closes_at} now=${now} />`}
    <p class="row"><b class="number answered" role="status">${t("screen.answered", { n: answered, all })}</b></p>
  </section>`;
}
