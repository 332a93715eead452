// Keeps a draft: in this tab at once, on the server a moment later. What the server would not take, a question that is
// not finished, is held back (its last good form stays), so that one of them never keeps the others from being saved.
import { newKey } from "../quizcast.js";
import { faults, fieldOf, fromQuiz, isBegun, toQuestion } from "./draft.js";
import { api } from "./session.js";

const CALM_MS = 900; // without typing, before a save
const PATIENCE_MS = 5000; // with typing on and on
const RETRY_MS = [2000, 5000, 10_000, 20_000];

/**
 * `state`: "saved", "waiting" (for the typing to end), "saving", "failed" (`error`; tried again by itself unless the
 * server said what is wrong), "conflict" (`theirs`), "gone". Tells `change`.
 */
export class Saver extends EventTarget {
  state = "saved";
  error = null;
  theirs = null;
  draft = null;
  #good = new Map(); // question's key → how it was last saved
  #refused = new WeakMap(); // question → what the server said of it
  #sent = null; // the content that the server has, as text
  #wanted = null; // and the one that is on its way
  #key = newKey(); // of a quiz that is not there yet
  #timer = null;
  #since = null;
  #failures = 0;
  #busy = null;

  /** `quiz` as the server has it, or null for a new one; `untitled` is what a quiz without a title is called. */
  constructor({ quiz, draft, untitled, onCreated }) {
    super();
    this.untitled = untitled;
    this.onCreated = onCreated;
    this.#adopt(quiz, draft ?? fromQuiz(quiz));
    addEventListener("online", this.#online);
    addEventListener("pagehide", this.#stash);
  }

  get id() {
    return this.quiz?.id ?? null;
  }

  /** Questions that are held back and that would be missed: `[{question, faults}]`. A blank new one is not. */
  get unfinished() {
    return this.draft.questions
      .filter((question) => this.#good.has(question.key) || isBegun(question))
      .map((question) => ({ question, faults: this.faultsOf(question) }))
      .filter((one) => one.faults.length);
  }

  /** Whether something would be lost with this tab. */
  get unsaved() {
    return this.state !== "saved" || this.unfinished.length > 0;
  }

  /** What is wrong with a question: by what this page knows, else by what the server said. */
  faultsOf(question) {
    const own = faults(question);
    return own.length ? own : (this.#refused.get(question) ?? []);
  }

  change(draft) {
    if (draft === this.draft) return;
    this.draft = draft;
    this.#stashSoon();
    if (this.state === "conflict" || this.state === "gone") return this.#tell();
    this.#since ??= Date.now();
    this.#become("waiting");
    this.#plan(Math.max(0, Math.min(CALM_MS, this.#since + PATIENCE_MS - Date.now())));
  }

  /** Save now; resolves when it is done or has failed. */
  flush() {
    clearTimeout(this.#timer);
    if (this.state === "conflict" || this.state === "gone") return Promise.resolve();
    this.#busy ??= this.#save().finally(() => (this.#busy = null));
    return this.#busy;
  }

  /** After a conflict: write over theirs. */
  keepMine() {
    this.quiz = this.theirs;
    this.#sent = null;
    this.#become("waiting");
    return this.flush();
  }

  /** After a conflict: go on with theirs. */
  takeTheirs() {
    this.#adopt(this.theirs, fromQuiz(this.theirs));
    this.#become("saved");
  }

  /** Mine as another quiz, from now on; `title` is how it is called. */
  keepAsCopy(title) {
    this.#unstash();
    this.quiz = null;
    this.#sent = null;
    this.#key = newKey();
    this.draft = { ...this.draft, title };
    this.#become("waiting");
    return this.flush();
  }

  /** Forget what this tab has and the server has not. */
  discard() {
    this.#unstash();
    this.draft = { ...this.draft, questions: [] };
    this.state = "saved";
  }

  stop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#stashing);
    removeEventListener("online", this.#online);
    removeEventListener("pagehide", this.#stash);
    this.#stash();
  }

  #adopt(quiz, draft) {
    this.quiz = quiz;
    this.theirs = null;
    this.draft = draft;
    this.#good.clear();
    if (!quiz) return;
    this.#sent = JSON.stringify(content(draft, this.untitled));
    for (const question of draft.questions) this.#good.set(question.key, toQuestion(question));
  }

  #compose() {
    const questions = [];
    const sent = [];
    for (const question of this.draft.questions) {
      const good = this.faultsOf(question).length ? this.#good.get(question.key) : toQuestion(question);
      if (!good) continue;
      questions.push(good);
      sent.push(question);
    }
    return { body: { ...content({ ...this.draft, questions: [] }, this.untitled), questions }, sent };
  }

  async #save() {
    this.#since = null;
    for (;;) {
      const { body, sent } = this.#compose();
      const text = JSON.stringify(body);
      const { draft } = this;
      if (text === this.#sent) return this.#done(draft);
      if (!this.quiz && !body.questions.length && !isTitled(draft)) return this.#become("saved");
      this.#become("saving");
      this.#wanted = text;
      try {
        const reply = await this.#send(body);
        this.#failures = 0;
        this.#sent = text;
        body.questions.forEach((good, place) => this.#good.set(sent[place].key, good));
        const created = !this.quiz;
        if (created) this.#unstash();
        this.quiz = reply;
        if (created) this.onCreated(reply.id);
        if (this.draft === draft) return this.#done(draft);
      } catch (error) {
        if (!("code" in error)) throw error;
        if (error.status === 422 && this.#blame(error, sent)) continue;
        return this.#fail(error);
      }
    }
  }

  #send(body) {
    if (!this.quiz) return api("POST", "/quizzes", { body, key: this.#key });
    return api("PUT", `/quizzes/${this.quiz.id}`, { body, ifMatch: `"${this.quiz.version}"` });
  }

  /** Which questions the server's problems are about; whether there is one that was not blamed before. */
  #blame(error, sent) {
    let found = false;
    for (const { path, message } of error.errors) {
      const [, place, rest] = /^questions\[(\d+)\]\.?(.*)$/.exec(path) ?? [];
      const question = sent[place];
      if (!question || faults(question).length) continue;
      const known = this.#refused.get(question) ?? [];
      this.#refused.set(question, [...known, { field: fieldOf(question, rest), message, missing: false }]);
      found = true;
    }
    return found;
  }

  async #fail(error) {
    this.error = error;
    if (error.code === "version_stale") return this.#conflict();
    if (error.code === "quiz_unknown") return this.#become("gone");
    this.#become("failed");
    if (error.temporary) this.#plan(Math.max(error.retryAfterMs ?? 0, RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)]));
  }

  async #conflict() {
    try {
      const theirs = await api("GET", `/quizzes/${this.quiz.id}`);
      if (JSON.stringify(content(fromQuiz(theirs), this.untitled)) === this.#wanted) {
        // It is our own save, whose reply was lost on the way.
        this.quiz = theirs;
        this.#sent = this.#wanted;
        return this.#save();
      }
      this.theirs = theirs;
      this.#become("conflict");
    } catch (error) {
      this.#fail(error);
    }
  }

  #done(draft) {
    if (!this.unfinished.length && this.draft === draft) this.#unstash();
    this.#become("saved");
  }

  #become(state) {
    this.state = state;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }

  #plan(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), ms);
  }

  #online = () => this.state === "failed" && this.flush();

  // ── what survives a reload of the tab ──

  #stashing = null;
  #stashSoon() {
    clearTimeout(this.#stashing);
    this.#stashing = setTimeout(this.#stash, 250);
  }

  #stash = () => {
    clearTimeout(this.#stashing);
    if (!this.unsaved) return;
    const { draft, quiz } = this;
    try {
      sessionStorage.setItem(place(this.id), JSON.stringify({ draft, version: quiz?.version ?? null, good: [...this.#good], sent: this.#sent, key: this.#key }));
    } catch {
      // The storage is full or forbidden: the server has all but the last second.
    }
  };

  #unstash() {
    clearTimeout(this.#stashing);
    sessionStorage.removeItem(place(this.id));
  }

  /** What an earlier life of this tab left of a quiz. True when there was something. */
  restore() {
    const kept = JSON.parse(sessionStorage.getItem(place(this.id)) ?? "null");
    if (!kept) return false;
    this.draft = kept.draft;
    this.#good = new Map(kept.good);
    this.#key = kept.key;
    // Somebody may have written meanwhile: then the save says so, by the version that this draft began with.
    if (this.quiz && kept.version !== this.quiz.version) this.#sent = kept.sent;
    if (this.quiz) this.quiz = { ...this.quiz, version: kept.version };
    this.#become("waiting");
    this.#plan(CALM_MS);
    return true;
  }
}

function place(id) {
  return `quizcast.draft.${id ?? "new"}`;
}

function content({ title, description, language, questions }, untitled) {
  return { title: title.trim() || untitled, description, language: language.trim() || "en", questions: questions.map(toQuestion) };
}

function isTitled({ title, description }) {
  return Boolean(title.trim() || description.trim());
}
