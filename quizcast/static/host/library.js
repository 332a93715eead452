// /host: the quizzes and the recent games of a host, and what can be done with them.
import { html, useContext, useEffect, useRef, useState } from "../ui/html.js";
import { language, t, tTime } from "../ui/i18n.js";
import { newKey } from "../quizcast.js";
import { Import } from "./import.js";
import { Confirm, Menu, reason, Saying, useFetched } from "./parts.js";
import { Link, navigate } from "./router.js";
import { api, freshen } from "./session.js";
import { Start } from "./start.js";

const PAGE = 100; // the most that the API gives at once
const GAMES_SHOWN = 12;
const SEARCH_FROM = 6; // fewer quizzes are seen at a glance

export function Library() {
  const say = useContext(Saying);
  const [quizzes, broken, again] = useFetched(allQuizzes, []);
  const [games, noGames] = useFetched(() => api("GET", `/games?limit=${PAGE}`).then(({ items }) => items), []);
  const [wanted, search] = useState("");
  const [asked, ask] = useState(null); // a dialog: ["start" | "delete" | "import", quiz or files]
  const close = () => ask(null);
  useEffect(() => {
    document.title = `${t("host.quizzes")} · quizcast`;
  }, []);

  const doing = async (work, done) => {
    try {
      const made = await work();
      if (done) say(done);
      await again();
      return made;
    } catch (error) {
      say(reason(error));
      return null;
    }
  };
  const duplicate = (quiz) =>
    doing(async () => {
      const { id, version, ...content } = await api("GET", `/quizzes/${quiz.id}`);
      const title = t("host.copy_of", { title: content.title }).slice(0, 200);
      await api("POST", "/quizzes", { body: { ...content, title }, key: newKey() });
    }, t("host.duplicated"));
  const remove = (quiz) => {
    close();
    return doing(() => api("DELETE", `/quizzes/${quiz.id}`), t("host.deleted"));
  };
  const addExample = () => doing(async () => api("POST", "/quizzes", { body: await example(), key: newKey() }), t("host.example_added"));

  const shown = quizzes?.filter((quiz) => matches(quiz, wanted));
  const actions = { duplicate, start: (quiz) => ask(["start", quiz]), remove: (quiz) => ask(["delete", quiz]), say };
  return html`<div class="wide stack library" onDragOver=${overFiles} onDrop=${(event) => dropped(event, (files) => ask(["import", files]))}>
    <div class="row">
      <h1>${t("host.quizzes")}</h1>
      <div class="row push">
        <button type="button" class="button" onClick=${() => ask(["import", []])}>${t("host.import")}</button>
        <${Link} class="button primary" href="/host/quizzes/new">${t("host.new_quiz")}<//>
      </div>
    </div>
    ${broken && html`<${Broken} error=${broken} again=${again} />`}
    ${!quizzes && !broken && html`<p class="muted" role="status">${t("host.loading")}</p>`}
    ${quizzes?.length >= SEARCH_FROM &&
    html`<div class="field"><label class="unseen" for="search">${t("host.search")}</label>
      <input id="search" type="search" placeholder=${t("host.search")} value=${wanted} onInput=${({ target }) => search(target.value)} />
    </div>`}
    ${quizzes?.length === 0 && html`<${Empty} onExample=${addExample} onImport=${() => ask(["import", []])} />`}
    ${quizzes?.length > 0 && shown.length === 0 && html`<p class="empty" role="status">${t("host.none_found", { text: wanted })}</p>`}
    ${shown?.length > 0 &&
    html`<ul class="shelf">${shown.map((quiz) => html`<${QuizCard} key=${quiz.id} quiz=${quiz} actions=${actions} />`)}</ul>`}
    ${games?.length > 0 && html`<${Games} games=${games} quizzes=${quizzes ?? []} />`}
    ${noGames && !broken && html`<p class="note" data-tone="bad">${reason(noGames)}</p>`}
    ${asked?.[0] === "start" && html`<${Start} quiz=${asked[1]} onClose=${close} />`}
    ${asked?.[0] === "import" && html`<${Import} files=${asked[1]} onClose=${close} onDone=${again} />`}
    ${asked?.[0] === "delete" &&
    html`<${Confirm} danger title=${t("host.delete_title", { title: asked[1].title })} text=${t("host.delete_text")} yes=${t("host.delete")}
      onYes=${() => remove(asked[1])} onNo=${close} />`}
  </div>`;
}

function QuizCard({ quiz, actions }) {
  const href = `/host/quizzes/${quiz.id}`;
  return html`<li class="card quiz-card">
    <h2 dir="auto"><${Link} href=${href}>${quiz.title}<//></h2>
    ${quiz.description && html`<p class="muted small clamp" dir="auto">${quiz.description}</p>`}
    <p class="muted small">${t("host.questions", { n: quiz.question_count })} · ${tTime(quiz.updated_at)}</p>
    <div class="row quiz-actions">
      <button type="button" class="button primary" disabled=${!quiz.question_count} aria-label=${t("host.start_this", { title: quiz.title })}
        onClick=${() => actions.start(quiz)}>${t("host.start")}</button>
      <${Link} class="button quiet" href=${href} aria-label=${t("host.edit_this", { title: quiz.title })}>${t("host.edit")}<//>
      <span class="push"></span>
      <${Menu} label=${t("host.more", { title: quiz.title })}>
        <button type="button" class="button quiet block" onClick=${() => actions.duplicate(quiz)}>${t("host.duplicate")}</button>
        <button type="button" class="button quiet block" onClick=${() => download(quiz, "json", actions.say)}>${t("host.export_json")}</button>
        <button type="button" class="button quiet block" onClick=${() => download(quiz, "csv", actions.say)}>${t("host.export_csv")}</button>
        <button type="button" class="button quiet danger block" onClick=${() => actions.remove(quiz)}>${t("host.delete")}</button>
      <//>
    </div>
  </li>`;
}

function Empty({ onExample, onImport }) {
  return html`<div class="empty stack centred">
    <h2>${t("host.empty_title")}</h2>
    <p class="muted">${t("host.empty_text")}</p>
    <div class="row centred">
      <${Link} class="button primary big" href="/host/quizzes/new">${t("host.write_first")}<//>
      <${Once} class="button big" onClick=${onExample}>${t("host.add_example")}<//>
      <button type="button" class="button quiet" onClick=${onImport}>${t("host.import")}</button>
    </div>
  </div>`;
}

function Games({ games, quizzes }) {
  const [all, showAll] = useState(false);
  const titles = new Map(quizzes.map(({ id, title }) => [id, title]));
  const shown = all ? games : games.slice(0, GAMES_SHOWN);
  return html`<section class="stack" aria-labelledby="games">
    <h2 id="games">${t("host.games")}</h2>
    <ul class="games">
      ${shown.map((game) => {
        const title = game.title || titles.get(game.quiz_id) || t("host.quiz_gone");
        const over = game.phase === "finished";
        return html`<li class="card game" key=${game.id} data-over=${over}>
          <span class="game-title"><b dir="auto">${title}</b><br /><span class="muted small">${tTime(game.created_at)}</span></span>
          <span class="chip" data-tone=${over ? null : "good"}>${t(`host.phase_${game.phase}`)}</span>
          <span class="small">${t("play.participants", { n: game.participants })}</span>
          <span class="number small">${!over && t("host.pin", { pin: game.pin })}</span>
          <${Link} class="button" href=${`/host/games/${game.id}`} aria-label=${t(over ? "host.report_of" : "host.go_on_with", { title })}>
            ${t(over ? "host.report" : "host.go_on")}<//>
        </li>`;
      })}
    </ul>
    ${shown.length < games.length &&
    html`<button type="button" class="button quiet" onClick=${() => showAll(true)}>${t("host.all_games", { n: games.length })}</button>`}
  </section>`;
}

function Broken({ error, again }) {
  return html`<div class="note row" data-tone="bad" role="alert"><span>${reason(error)}</span>
    <button type="button" class="button push" onClick=${again}>${t("host.try_again")}</button></div>`;
}

/** A button for what takes a moment and should happen once. */
function Once({ onClick, children, ...more }) {
  const [busy, work] = useState(false);
  const here = useRef(true);
  useEffect(() => () => (here.current = false), []);
  const run = async () => {
    work(true);
    await onClick();
    if (here.current) work(false);
  };
  return html`<button type="button" disabled=${busy} onClick=${run} ...${more}>${children}</button>`;
}

async function allQuizzes() {
  const all = [];
  let cursor = "";
  do {
    const page = await api("GET", `/quizzes?limit=${PAGE}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    all.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return all;
}

function matches({ title, description }, wanted) {
  const text = plain(`${title} ${description}`);
  return plain(wanted).split(/\s+/).every((word) => text.includes(word));
}

/** Without capitals and accents: who looks for "elan" finds "Élan". */
function plain(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}

/** A quiz with a question of each kind, in the reader's language where there is one. */
async function example() {
  for (const tag of [language, "en"]) {
    const reply = await fetch(new URL(`./examples/${tag}.json`, import.meta.url));
    if (reply.ok) return reply.json();
  }
  throw new Error("no example");
}

async function download(quiz, format, say) {
  try {
    await freshen();
    location.assign(`/api/v1/quizzes/${quiz.id}/export?format=${format}`);
  } catch (error) {
    say(reason(error));
  }
}

function overFiles(event) {
  if (event.dataTransfer.types.includes("Files")) event.preventDefault();
}

function dropped(event, use) {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  use([...event.dataTransfer.files]);
}
