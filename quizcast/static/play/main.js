// The participant's page: in by PIN and name, then whatever the game is doing. A reload goes on where one was.
import { html, render, useEffect, useState } from "../ui/html.js";
import { t, tError } from "../ui/i18n.js";
import { Mark } from "../ui/marks.js";
import { Brand, Connection, Main } from "../ui/parts.js";
import { useGame } from "../ui/game.js";
import { join } from "../quizcast.js";
import { AskName, AskPin } from "./join.js";
import { End, Outcome, Standing } from "./outcome.js";
import { Question } from "./question.js";
import { keep, forget, latest, of } from "./seat.js";

// What is said at the PIN, since another name would not help.
const ABOUT_THE_GAME = new Set(["pin_unknown", "too_many_pins", "game_over", "game_locked", "game_full", "banned"]);

function App() {
  const [pin, setPin] = useState(location.pathname.match(/^\/join\/(\d+)/)?.[1] ?? "");
  const [seat, setSeat] = useState(() => (pin ? of(pin) : null));
  const [wrong, setWrong] = useState("");

  const leave = (why = "") => {
    if (seat) forget(seat.gameId);
    history.replaceState(null, "", "/");
    setSeat(null);
    setPin("");
    setWrong(why && tError(why));
  };
  const enter = async (nickname) => {
    try {
      const joined = { ...(await join("", { pin, nickname })), pin };
      keep(joined);
      history.replaceState(null, "", `/join/${pin}`);
      setSeat(joined);
    } catch (error) {
      if (!ABOUT_THE_GAME.has(error.code)) return error.code;
      leave(error.code);
    }
  };

  if (seat) return html`<${Seat} key=${seat.gameId} seat=${seat} onLeave=${leave} />`;
  const again = latest();
  return html`<header class="topbar"><${Brand} /></header>
    ${pin
      ? html`<${AskName} pin=${pin} onName=${enter} onOtherPin=${() => leave()} />`
      : html`<${AskPin} onPin=${setPin} wrong=${wrong} again=${again} />`}`;
}

function Seat({ seat, onLeave }) {
  const { view, connection, now, outbox } = useGame(seat, { answers: true });
  const me = view.me ?? { nickname: seat.nickname, score: 0, rank: null };

  useEffect(() => {
    if (view.kicked) onLeave(view.kicked.reason);
    else if (connection.state === "refused") onLeave(connection.code);
  }, [view.kicked, connection.state]);

  return html`<header class="topbar">
      <b dir="auto">${me.nickname}</b>
      ${me.rank !== null && html`<span class="small muted number">${t("score.points", { n: me.score })}</span>`}
      <span class="push"><${Connection} ...${connection} /></span>
    </header>
    <${Phase} view=${view} me=${me} now=${now} outbox=${outbox} onLeave=${onLeave} />`;
}

function Phase({ view, me, now, outbox, onLeave }) {
  const { question, closed, result } = view;
  if (!view.phase) return html`<${Main} class="middle fill stack centred"><h1 class="muted">${t("connection.connecting")}</h1><//>`;
  if (view.phase === "finished") return html`<${End} finished=${view.finished} me=${me} onLeave=${() => onLeave()} />`;
  if (!question) return html`<${Lobby} view=${view} me=${me} />`;
  if (view.phase === "question") {
    const given = outbox.get(question.index) ?? (me.answered ? { value: me.answer, state: "received" } : undefined);
    return html`<${Question} key=${question.index} question=${question} now=${now} answer=${given}
      onAnswer=${(value) => outbox.answer(question.index, value)} />`;
  }
  if (view.leaderboard) return html`<${Standing} leaderboard=${view.leaderboard} me=${me} />`;
  return html`<${Outcome} key=${question.index} question=${question} closed=${closed} result=${result} />`;
}

function Lobby({ view, me }) {
  return html`<${Main} class="middle fill stack centred">
    <p class="confetti" aria-hidden="true">${[0, 1, 2, 3, 4, 5, 6, 7].map((choice) => html`<${Mark} choice=${choice} />`)}</p>
    <h1 class="comes">${t("lobby.in", { name: me.nickname })}</h1>
    ${view.title && html`<p class="chip" dir="auto">${view.title}</p>`}
    <p>${t("lobby.wait")}</p>
    <p class="muted number" role="status">${t("play.participants", { n: view.participants })}</p>
  <//>`;
}

document.title = `${t("title.play")} · quizcast`;
render(html`<${App} />`, document.getElementById("app"));
