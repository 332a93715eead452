/**
 * Answers that arrive. Each is kept until the server has taken it or refused it for good, over broken lines and reloads.
 * The first answer to a question stands: the server counts that one, so a second is not even sent.
 */

import { call } from "./api.js";
import { backoff, sleep } from "./time.js";

const TIMEOUT_MS = 8000;
const BASE_MS = 300; // answers have a deadline: they come back sooner than streams
const CAP_MS = 5000;
const EARLY = { atLeastMs: 100, baseMs: 100, capMs: 2000 }; // for a question that opens in a moment

/**
 * @typedef {object} Entry
 * @property {number} question
 * @property {any} value what stands; not what was given to `answer` when there was one before
 * @property {"sending" | "received" | "refused"} state received: the server has promised to keep it
 * @property {string | null} code why it was refused: question_closed, already_answered, …
 * @property {number | null} receivedAt by the server's clock
 */

/** Dispatches `change` with the `Entry` that has changed. */
export class Outbox extends EventTarget {
  #game;
  #storage;
  #prefix;
  #timeoutMs;
  #entries = new Map(); // by question
  #naps = new Set();
  #life = new AbortController(); // until `close`

  /**
   * @param {import("./game.js").Game} game of a participant
   * @param {{ storage?: Storage | null, timeoutMs?: number }} [options] where unsent answers outlive a reload
   *   (localStorage; null: nowhere), and after how long one try is given up
   */
  constructor(game, { storage = ownStorage(), timeoutMs = TIMEOUT_MS } = {}) {
    super();
    this.#game = game;
    this.#storage = storage;
    this.#timeoutMs = timeoutMs;
    this.#prefix = `quizcast:answer:${game.gameId}:${game.participantId}:`;
    for (const question of this.#stored()) this.#restore(question);
    const hurry = () => this.#naps.forEach((nap) => nap.abort());
    const { signal } = this.#life;
    signal.addEventListener("abort", hurry);
    game.addEventListener("connection", () => game.connection.state === "live" && hurry(), { signal });
    game.addEventListener("question", hurry, { signal });
    game.addEventListener("question", ({ detail }) => this.#forget(detail.index), { signal });
    document.addEventListener("visibilitychange", hurry, { signal });
    for (const name of ["online", "pageshow"]) addEventListener(name, hurry, { signal });
    addEventListener("storage", ({ key }) => key?.startsWith(this.#prefix) && this.#heardOf(this.#number(key)), { signal });
  }

  /** Send no more. What has not arrived stays in the storage, for the next outbox of this game. */
  close() {
    this.#life.abort();
  }

  /**
   * Answer a question. Of several answers to it the first stands, on its way or arrived; what stands is returned.
   * Only what was refused for its form (`answer_invalid`, say) can be answered anew.
   * @param {number} question its index
   * @param {any} value as the contract has it for the question's kind
   * @returns {Entry}
   */
  answer(question, value) {
    const before = this.#entries.get(question) ?? this.#restore(question);
    if (before && (before.state !== "refused" || ["question_closed", "already_answered"].includes(before.code))) return before;
    const entry = this.#put({ question, value, state: "sending", code: null, receivedAt: null });
    this.#send(entry);
    return entry;
  }

  /** What stands for a question, if anything. @returns {Entry | undefined} */
  get(question) {
    return this.#entries.get(question);
  }

  async #send({ question, value }) {
    const game = this.#game;
    const put = (change) => this.#put({ question, value, state: "sending", code: null, receivedAt: null, ...change });
    for (let failures = 0; !this.#life.signal.aborted; failures += 1) {
      const shown = game.view.question;
      if (shown?.index === question) await this.#nap(shown.opens_at - game.now());
      let waitMs;
      try {
        const path = `/games/${game.gameId}/answers`;
        const options = { token: game.token, body: { question, answer: value }, timeoutMs: this.#timeoutMs, keepalive: true };
        const receipt = await call(game.server, "POST", path, options);
        put({ state: "received", receivedAt: receipt.received_at });
        game.retry();
        return game.tell("answered", { index: question, answer: value });
      } catch (error) {
        const elsewhere = game.view.index !== null && game.view.index !== question;
        if (error.code === "already_answered") return this.#settle(put, question);
        if (error.code === "question_not_open" && !elsewhere) waitMs = backoff(failures, EARLY);
        else if (error.temporary) waitMs = backoff(failures, { baseMs: BASE_MS, capMs: CAP_MS, atLeastMs: error.retryAfterMs ?? 0 });
        else return put({ state: "refused", code: error.code });
      }
      await this.#nap(waitMs);
    }
  }

  /** Another tab or phone of the same participant was quicker: theirs is what stands. */
  async #settle(put, question) {
    const game = this.#game;
    const asked = call(game.server, "GET", `/games/${game.gameId}/state`, { token: game.token, tries: 3 });
    const state = await asked.catch(() => null);
    const known = state?.question_index === question && state.me?.answered;
    put({ state: "refused", code: "already_answered", ...(known && { value: state.me.answer }) });
    if (known) game.tell("answered", { index: question, answer: state.me.answer });
  }

  async #nap(ms) {
    if (!(ms > 0)) return;
    const nap = new AbortController();
    this.#naps.add(nap);
    await sleep(ms, nap.signal);
    this.#naps.delete(nap);
  }

  #put(entry) {
    this.#entries.set(entry.question, Object.freeze(entry));
    this.#store((storage) => storage.setItem(this.#prefix + entry.question, JSON.stringify(entry)));
    this.dispatchEvent(new CustomEvent("change", { detail: entry }));
    return entry;
  }

  // ── storage: one entry a key, so that tabs do not write over each other; it may be missing, full or forbidden ──────

  #store(use) {
    try {
      return this.#storage && use(this.#storage);
    } catch {
      return null;
    }
  }

  #stored() {
    const keys = this.#store((storage) => Object.keys(storage)) ?? [];
    return keys.filter((key) => key.startsWith(this.#prefix)).map((key) => this.#number(key));
  }

  #number(key) {
    return Number(key.slice(this.#prefix.length));
  }

  #read(question) {
    return this.#store((storage) => JSON.parse(storage.getItem(this.#prefix + question)));
  }

  #restore(question) {
    const entry = this.#read(question);
    if (!entry) return undefined;
    this.#entries.set(question, Object.freeze(entry));
    if (entry.state === "sending") this.#send(entry);
    return entry;
  }

  /** Another tab has written: what it knows for certain holds here too. */
  #heardOf(question) {
    const entry = this.#read(question);
    if (!entry || entry.state === "sending" || this.#entries.get(question)?.state === "sending") return;
    this.#entries.set(question, Object.freeze(entry));
    this.dispatchEvent(new CustomEvent("change", { detail: entry }));
    if (entry.state === "received") this.#game.tell("answered", { index: question, answer: entry.value });
  }

  #forget(except) {
    for (const question of this.#stored()) {
      if (question !== except && this.#read(question)?.state !== "sending") {
        this.#store((storage) => storage.removeItem(this.#prefix + question));
      }
    }
  }
}

function ownStorage() {
  try {
    return globalThis.localStorage;
  } catch {
    return null; // forbidden, in a frame of another site for example
  }
}
