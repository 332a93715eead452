// /host/quizzes/ID: writing a quiz. The list of questions, the form of one of them, and how a participant sees it.
import { html, useCallback, useContext, useEffect, useMemo, useRef, useState } from "../ui/html.js";
import { language, t } from "../ui/i18n.js";
import { Dialog } from "../ui/parts.js";
import { blank, blankQuiz, copied, fromQuiz, isScored, LIMITS, moved } from "./draft.js";
import { QuestionList } from "./list.js";
import { Confirm, Menu, reason, Saying, useFetched } from "./parts.js";
import { Preview } from "./preview.js";
import { QuestionForm } from "./question.js";
import { Link, navigate, rename, useGuard } from "./router.js";
import { Saver } from "./saver.js";
import { api } from "./session.js";
import { Settings } from "./settings.js";
import { Start } from "./start.js";

/** `quizId` is null for a new quiz, which gets its id with the first save. */
export function Editor({ quizId }) {
  const [quiz, error, again] = useFetched(() => (quizId ? api("GET", `/quizzes/${quizId}`) : Promise.resolve("new")), [quizId]);
  if (error) {
    return html`<div class="middle stack"><p class="note" data-tone="bad" role="alert">${reason(error)}</p>
      <div class="row"><button type="button" class="button" onClick=${again}>${t("host.try_again")}</button>
      <${Link} class="button quiet" href="/host">${t("host.to_quizzes")}<//></div></div>`;
  }
  if (!quiz) return html`<p class="middle muted" role="status">${t("host.loading")}</p>`;
  return html`<${Writing} quiz=${quiz === "new" ? null : quiz} />`;
}

function Writing({ quiz }) {
  const say = useContext(Saying);
  const saver = useSaver(quiz, say);
  const { draft } = saver;
  const [selected, select] = useState(() => draft.questions[0]?.key ?? null);
  const [left, setLeft] = useState(() => new Set(quiz ? draft.questions.map(({ key }) => key) : [])); // shown with what is wrong
  const [open, setOpen] = useState(null); // "settings", "start", "preview", "leave"
  const [listed, list] = useState(false); // on a narrow page
  const answer = useRef(null); // to whether to leave
  const form = useRef(null);
  const focus = useRef(null);
  const place = Math.max(0, draft.questions.findIndex(({ key }) => key === selected));
  const question = draft.questions[place];
  const unfinished = saver.unfinished;
  const unfinishedKeys = useMemo(() => new Set(unfinished.map((one) => one.question.key)), [draft, saver.state]);

  useEffect(() => {
    document.title = `${draft.title.trim() || t("editor.untitled")} · quizcast`;
  }, [draft.title]);
  useEffect(() => {
    if (!quiz) document.getElementById("quiz-title").focus();
  }, []);
  useEffect(() => {
    if (!focus.current) return;
    document.getElementById(focus.current)?.focus();
    focus.current = null;
  });

  const change = (fields) => saver.change({ ...saver.draft, ...fields });
  const changeAll = (questions) => change({ questions });
  const go = (key, target = null) => {
    if (selected && selected !== key) setLeft((keys) => new Set(keys).add(selected));
    select(key);
    list(false);
    focus.current = target;
  };
  const add = (made = blank(question && isScored(question.kind) ? question.kind : "single")) => {
    if (draft.questions.length >= LIMITS.questions) return say(t("editor.too_many", { n: LIMITS.questions }));
    const at = draft.questions.length ? place + 1 : 0;
    changeAll(draft.questions.toSpliced(at, 0, made));
    go(made.key, "q-prompt");
    form.current?.scrollIntoView({ block: "start" });
  };
  const remove = (key) => {
    const at = draft.questions.findIndex((one) => one.key === key);
    const gone = draft.questions[at];
    const questions = draft.questions.toSpliced(at, 1);
    changeAll(questions);
    if (key === selected) go((questions[at] ?? questions[at - 1])?.key ?? null, questions.length ? "q-prompt" : "add-question");
    const act = () => {
      saver.change({ ...saver.draft, questions: saver.draft.questions.toSpliced(at, 0, gone) });
      go(gone.key, "q-prompt");
    };
    say(t("editor.question_deleted", { n: at + 1 }), { label: t("editor.undo"), act });
  };
  const duplicate = () => add(copied(question));
  const move = (from, to) => {
    if (to < 0 || to >= saver.draft.questions.length) return;
    changeAll(moved(saver.draft.questions, from, to));
  };
  const keyed = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      add();
    }
  };
  const ask = useCallback(async () => {
    if (saver.state === "waiting" || saver.state === "saving") await saver.flush();
    if (!saver.unsaved) return true;
    setOpen("leave");
    return new Promise((resolve) => (answer.current = resolve));
  }, [saver.saver]);
  useGuard(ask);
  const leave = (yes) => {
    setOpen(null);
    answer.current?.(yes);
  };
  const start = async () => {
    await saver.flush();
    if (saver.saver.quiz?.questions.length) setOpen("start");
    else say(t("editor.nothing_to_start"));
  };
  const showFaults = () => {
    setLeft((keys) => new Set([...keys, ...unfinishedKeys]));
    const first = unfinished[0];
    if (first) go(first.question.key, "q-prompt");
  };
  const faults = question ? saver.saver.faultsOf(question).filter(({ missing }) => !missing || left.has(question.key)) : [];

  return html`<div class="editor" onKeyDown=${keyed}>
    <h1 class="unseen" dir="auto">${draft.title.trim() || t("editor.untitled")}</h1>
    <div class="editor-bar">
      <${Link} class="button quiet" href="/host" aria-label=${t("host.to_quizzes")}><span aria-hidden="true">‹</span><span class="long">${t("host.quizzes")}</span><//>
      <label class="unseen" for="quiz-title">${t("editor.title")}</label>
      <input id="quiz-title" class="title-input" dir="auto" maxlength=${LIMITS.title} placeholder=${t("editor.untitled")} value=${draft.title} autocomplete="off"
        onInput=${({ target }) => change({ title: target.value })} onKeyDown=${(event) => event.key === "Enter" && document.getElementById("q-prompt")?.focus()} />
      <${SaveState} saver=${saver.saver} unfinished=${unfinished.length} onShow=${showFaults} />
      <button type="button" class="button quiet" aria-label=${t("editor.settings")} onClick=${() => setOpen("settings")}>
        <span class="long">${t("editor.settings")}</span>
        <svg class="sign phone-only" viewBox="0 0 24 24" aria-hidden="true"><path d="M3 7h9m6 0h3M3 17h3m6 0h9M15 4v6M9 14v6" /></svg></button>
      <button type="button" class="button primary" onClick=${start}>${t("host.start")}</button>
    </div>
    <div class="editor-body">
      <nav class="editor-list" aria-label=${t("editor.questions")} data-open=${listed}>
        ${question &&
        html`<div class="switch">
          <button type="button" class="button quiet icon" disabled=${place === 0} aria-label=${t("editor.previous")} onClick=${() => go(draft.questions[place - 1].key)}>‹</button>
          <button type="button" class="button quiet" aria-expanded=${listed} onClick=${() => list(!listed)}>
            ${t("play.question_of", { index: place + 1, count: draft.questions.length })} ${unfinished.length > 0 && html`<span class="todo">•</span>`} <span aria-hidden="true">${listed ? "▴" : "▾"}</span></button>
          <button type="button" class="button quiet icon" disabled=${place === draft.questions.length - 1} aria-label=${t("editor.next")} onClick=${() => go(draft.questions[place + 1].key)}>›</button>
        </div>`}
        <${QuestionList} questions=${draft.questions} selected=${question?.key} unfinished=${unfinishedKeys} onSelect=${go} onMove=${move} onRemove=${remove} />
        <button type="button" id="add-question" class="button block" onClick=${() => add()}>+ ${t("editor.add_question")}</button>
      </nav>
      <section class="editor-main stack" aria-label=${question ? t("editor.question_n", { n: place + 1 }) : t("editor.questions")} ref=${form}>
        ${question
          ? html`<div class="row tools">
                <h2>${t("editor.question_n", { n: place + 1 })}</h2>
                <div class="row push">
                  <button type="button" class="button quiet narrow-only" onClick=${() => setOpen("preview")}>${t("editor.preview")}</button>
                  <button type="button" class="button quiet icon" disabled=${place === 0} aria-label=${t("editor.move_up")} title=${t("editor.move_up")} onClick=${() => move(place, place - 1)}>↑</button>
                  <button type="button" class="button quiet icon" disabled=${place === draft.questions.length - 1} aria-label=${t("editor.move_down")} title=${t("editor.move_down")} onClick=${() => move(place, place + 1)}>↓</button>
                  <button type="button" class="button quiet wide-only" onClick=${duplicate}>${t("host.duplicate")}</button>
                  <button type="button" class="button quiet danger wide-only" onClick=${() => remove(question.key)}>${t("host.delete")}</button>
                  <div class="phone-only"><${Menu} label=${t("editor.more")}>
                    <button type="button" class="button quiet block" onClick=${duplicate}>${t("host.duplicate")}</button>
                    <button type="button" class="button quiet danger block" onClick=${() => remove(question.key)}>${t("host.delete")}</button>
                  <//></div>
                </div>
              </div>
              <div class="card"><${QuestionForm} question=${question} faults=${faults}
                onChange=${(next) => changeAll(saver.draft.questions.map((one) => (one.key === next.key ? next : one)))} /></div>
              <div class="row"><button type="button" class="button primary" onClick=${() => add()}>+ ${t("editor.add_question")}</button>
                <span class="muted small keys">${t("editor.keys")}</span></div>`
          : html`<div class="empty stack centred"><p>${t("editor.no_questions")}</p></div>`}
      </section>
      ${question && html`<aside class="editor-preview" aria-label=${t("editor.preview")}><p class="muted small">${t("editor.preview")}</p>
        <${Preview} question=${question} index=${place} count=${draft.questions.length} /></aside>`}
    </div>
    ${open === "settings" && html`<${Settings} draft=${draft} onChange=${change} onClose=${() => setOpen(null)} />`}
    ${open === "preview" && html`<${Dialog} title=${t("editor.preview")} onClose=${() => setOpen(null)}>
      <${Preview} question=${question} index=${place} count=${draft.questions.length} />
      <button type="button" class="button block" onClick=${() => setOpen(null)}>${t("host.close")}</button><//>`}
    ${open === "start" && html`<${Start} quiz=${saver.saver.quiz} note=${unfinished.length ? t("editor.start_unfinished", { n: unfinished.length }) : null} onClose=${() => setOpen(null)} />`}
    ${open === "leave" && html`<${Confirm} danger title=${t("editor.leave_title")} text=${t("editor.leave_text")} yes=${t("editor.leave_yes")}
      onYes=${() => leave(true)} onNo=${() => leave(false)} />`}
    ${saver.state === "conflict" && html`<${Conflict} saver=${saver.saver} />`}
    ${saver.state === "gone" && html`<${Gone} saver=${saver.saver} />`}
  </div>`;
}

/** Whether all is on the server; always to be seen, and read out when it changes. */
function SaveState({ saver, unfinished, onShow }) {
  const { state } = saver;
  const [tone, text] = saveText(saver, unfinished);
  return html`<div class="save-state" data-tone=${tone} data-state=${state}>
    <span role="status">${text}</span>
    ${state === "failed" && html`<button type="button" class="button quiet" onClick=${() => saver.flush()}>${t("host.try_again")}</button>`}
    ${state === "saved" && unfinished > 0 && html`<button type="button" class="button quiet" onClick=${onShow}>${t("editor.show")}</button>`}
  </div>`;
}

function saveText({ state, error, quiz: saved }, unfinished) {
  if (state === "failed") return ["bad", t("editor.not_saved", { reason: reason(error) })];
  if (state === "conflict") return ["bad", t("editor.not_saved", { reason: t("editor.conflict_short") })];
  if (state === "gone") return ["bad", t("editor.not_saved", { reason: t("error.quiz_unknown") })];
  if (state !== "saved") return ["busy", t("editor.saving")];
  if (!saved) return ["busy", t("editor.saves_itself")];
  if (unfinished) return ["warn", t("editor.saved_but", { n: unfinished })];
  return ["good", t("editor.saved")];
}

function Conflict({ saver }) {
  const { theirs, draft } = saver;
  const title = t("editor.copy_title", { title: draft.title.trim() || t("editor.untitled") }).slice(0, LIMITS.title);
  return html`<${Dialog} title=${t("editor.conflict_title")} lasting>
    <p>${t("editor.conflict_text", { n: theirs.questions.length, mine: draft.questions.length })}</p>
    <div class="stack choices-of-three">
      <button type="button" class="button primary block" onClick=${() => saver.keepAsCopy(title)}>${t("editor.keep_copy")}</button>
      <button type="button" class="button block" onClick=${() => saver.takeTheirs()}>${t("editor.take_theirs")}</button>
      <button type="button" class="button danger block" onClick=${() => saver.keepMine()}>${t("editor.keep_mine")}</button>
    </div>
  <//>`;
}

function Gone({ saver }) {
  return html`<${Dialog} title=${t("editor.gone_title")} lasting>
    <p>${t("editor.gone_text")}</p>
    <button type="button" class="button primary block" onClick=${() => saver.keepAsCopy(saver.draft.title)}>${t("editor.keep_as_new")}</button>
    <button type="button" class="button block" onClick=${() => (saver.discard(), navigate("/host"))}>${t("editor.let_go")}</button>
  <//>`;
}

/** A saver for as long as the page is there; what it holds comes as plain values with every change. */
function useSaver(quiz, say) {
  const [, turn] = useState(0);
  const held = useRef(null);
  held.current ??= new Saver({
    quiz,
    draft: quiz ? fromQuiz(quiz) : blankQuiz(language),
    untitled: t("editor.untitled"),
    onCreated: (id) => rename(`/host/quizzes/${id}`),
  });
  const saver = held.current;
  useMemo(() => saver.restore() && setTimeout(say, 0, t("editor.restored")), [saver]);
  useEffect(() => {
    const look = () => turn((n) => n + 1);
    const warn = (event) => saver.unsaved && event.preventDefault();
    saver.addEventListener("change", look);
    addEventListener("beforeunload", warn);
    return () => {
      saver.removeEventListener("change", look);
      removeEventListener("beforeunload", warn);
      saver.stop();
    };
  }, [saver]);
  return {
    saver,
    get draft() {
      return saver.draft;
    },
    get state() {
      return saver.state;
    },
    get unsaved() {
      return saver.unsaved;
    },
    get unfinished() {
      return saver.unfinished;
    },
    change: (draft) => saver.change(draft),
    flush: () => saver.flush(),
  };
}
