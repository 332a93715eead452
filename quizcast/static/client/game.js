/**
 * A game as its stream tells it: one stream at a time, opened again for as long as the game lasts, and the same picture
 * by polling while no stream gets through. What is known is in `view`; how the line is, in `connection`.
 */

import { call, problemOf } from "./api.js";
import { EMPTY, fold } from "./fold.js";
import { frames } from "./frames.js";
import { Clock, backoff, sleep } from "./time.js";

const HEARTBEAT_MS = 15_000; // until it has been seen how often they come
const HEARTBEAT_MIN_MS = 1000;
const MISSED = 2.5; // heartbeats, after which a line is dead
const SILENT_MS = 5000; // the first byte of a stream comes at once; a proxy that holds it back so long may do so for ever
const FAILURES_MAX = 3; // streams that could not be opened, before it is tried otherwise
const POLL_MS = 2000;
const POLL_TIMEOUT_MS = 8000;
const PROBE_MS = 3000;
const LINE_CAP_MS = 5000; // between tries where nothing answers: asking a dead line again costs nobody anything
const STEADY_MS = 5000; // a stream that lasted so long was a good one
const FRESH_MS = 2000; // a line that was heard so lately need not be tested

/**
 * @typedef {object} Connection
 * @property {"connecting" | "live" | "silent" | "lost" | "polling" | "over" | "refused"} state
 *   connecting: for the first time · live: the stream flows · silent: it was opened, and nothing comes · lost: nothing
 *   gets through, and it is tried again and again · polling: no stream, but the view is at most some seconds old ·
 *   over: the game has ended · refused: the server does not want us (`code`)
 * @property {"line" | "server" | null} fault whose it is
 * @property {string | null} code when refused: the error's code, or "kicked", "banned"
 * @property {number} attempt failures in a row
 * @property {number | null} retryAt when it will be tried again, by `now()`; null: right now, or there is no need
 * @property {number} since when `state` began, by `now()`
 */

/** Dispatches every event of the contract under its name (`detail`: its data), then `change`; and `connection`. */
export class Game extends EventTarget {
  /** @type {import("./fold.js").View} */
  view = EMPTY;
  /** @type {Connection} */
  connection = { state: "connecting", fault: null, code: null, attempt: 0, retryAt: null, since: 0 };

  #headers;
  #renew;
  #clock = new Clock();
  #life = null; // AbortController from start to stop
  #id = ""; // of the last kept event: where to resume
  #retryMs = 1000; // what the server wants to be waited after a line broke
  #failures = 0;
  #hole = null; // where a heartbeat last told of one
  #stream = null; // AbortController of the stream, with `why` it was cut
  #nap = null; // of the wait between two streams
  #poller = null;
  #polls = 0; // how many there were: what a stream was opened with may be older than they
  #heardAt = 0;
  #gaps = []; // between the latest heartbeats

  /**
   * @param {object} options
   * @param {string} [options.server] "" for the page's own, else like "https://quiz.example.org"
   * @param {string} options.gameId
   * @param {string} [options.participantId] for the outbox to keep apart who plays in one browser
   * @param {string | null} [options.token] a participant's, host's or screen's; without it the cookies count
   * @param {Record<string, string>} [options.headers] on every request; a host's page says `X-Quizcast-Session: cookie`,
   *   since there may be a participant's cookie too
   * @param {() => Promise<string | boolean>} [options.renew] asked once when the token is not taken: a new one, or true
   *   for new cookies, or false
   */
  constructor({ server = "", gameId, participantId = "", token = null, headers = {}, renew = async () => false }) {
    super();
    Object.assign(this, { server, gameId, participantId, token });
    this.#headers = headers;
    this.#renew = renew;
  }

  /** The server's clock, ms since the epoch. Never goes back, whatever happens to the phone's. */
  now() {
    return this.#clock.now();
  }

  /** Whether `now()` is the server's yet; it is before the first question is. */
  get synced() {
    return this.#clock.synced;
  }

  /** Listen, until `stop()` or the end. */
  start() {
    if (this.#life) return;
    const { signal } = (this.#life = new AbortController());
    this.#failures = 0;
    this.#say("connecting");
    document.addEventListener("visibilitychange", (event) => this.#wake(event), { signal });
    for (const name of ["pageshow", "online"]) addEventListener(name, (event) => this.#wake(event), { signal });
    this.#run(signal);
  }

  /** Listen no more. `start()` goes on where this ended. */
  stop() {
    this.#life?.abort();
    this.#life = null;
    this.#stopPolling();
    this.#cut("stop");
    this.#nap?.abort();
  }

  /** Do not wait for the next try. For a button; and whoever has just had an answer knows that the line is back. */
  retry() {
    if (this.#nap || this.connection.state !== "live") this.#again(false);
  }

  /** Tell `view` something that is no event of the stream; the outbox's receipts come this way. */
  tell(name, data) {
    const before = this.view;
    this.view = fold(before, name, data);
    this.dispatchEvent(new CustomEvent(name, { detail: data }));
    if (this.view !== before) this.dispatchEvent(new CustomEvent("change", { detail: this.view }));
  }

  async #run(life) {
    let renewed = false;
    let missed = 0;
    while (!life.aborted) {
      const began = performance.now();
      const stream = (this.#stream = new AbortController());
      let waitMs = null;
      let error = null;
      try {
        waitMs = await this.#listen(stream);
      } catch (thrown) {
        error = thrown;
      }
      stream.abort();
      if (life.aborted) return;
      if (stream.heard) {
        renewed = false;
        if (performance.now() - began > STEADY_MS) this.#failures = 0;
        if (this.view.phase === "finished") return this.#end("over");
      }
      if (error?.status === 401 && !renewed) {
        renewed = true;
        try {
          const token = await this.#renew();
          if (typeof token === "string") this.token = token;
          if (token) continue;
        } catch (thrown) {
          error = thrown;
        }
      }
      if (life.aborted || this.#final(error)) return;
      if (stream.why === "wake") continue;
      missed = stream.heard ? Number(waitMs === null) : missed + 1;
      if (waitMs === null) {
        waitMs = pause(this.#failures, this.#retryMs, error);
        this.#failures += 1;
      }
      // One that broke off is no loss before the next has failed; nor is one that is sent from a door that just closes.
      if (missed > 1 || this.connection.state !== "live") this.#lost(error, waitMs);
      const nap = (this.#nap = new AbortController());
      await sleep(waitMs, nap.signal);
      if (this.#nap === nap) this.#nap = null;
      if (!life.aborted && this.connection.retryAt !== null) this.#say(this.connection.state, { retryAt: null });
    }
  }

  /** One stream to its end; how long to wait before the next, null when it just broke off. */
  async #listen(stream) {
    const polls = this.#polls;
    const resumed = this.#id !== "";
    let watchdog;
    let beganAt = null; // of the heartbeat before
    const heard = () => {
      this.#heardAt = performance.now();
      clearTimeout(watchdog);
      watchdog = setTimeout(() => this.#cut("dead", stream), MISSED * this.#interval());
    };
    heard();
    const silent = setTimeout(() => this.#silent(stream), SILENT_MS);
    try {
      const headers = { Accept: "text/event-stream", ...this.#headers };
      if (this.token) headers.Authorization = `Bearer ${this.token}`;
      if (this.#id) headers["Last-Event-ID"] = this.#id;
      const address = `${this.server}/api/v1/games/${this.gameId}/events`;
      const response = await fetch(address, { headers, signal: stream.signal, cache: "no-store" });
      if (response.status === 204) {
        await this.#over();
        return 0;
      }
      const type = response.headers.get("Content-Type") ?? "";
      if (!response.ok || !type.startsWith("text/event-stream")) throw await problemOf(response);
      stream.opened = true;
      for await (const { name, id, data, retryMs } of frames(response.body, heard)) {
        if (stream.signal.aborted) break;
        if (!stream.heard) {
          clearTimeout(silent);
          // What it was to go on from, or has held back, is older than what we have polled meanwhile: from scratch, then.
          if (polls !== this.#polls && (resumed || stream.late)) return 0;
          stream.heard = true;
          this.#stopPolling();
          this.#say("live", { attempt: 0, fault: null });
        }
        this.#retryMs = retryMs ?? this.#retryMs;
        const said = parsed(data);
        if (said === null) continue;
        if (Number.isFinite(said.server_now_at)) {
          this.#clock.sample(said.server_now_at, name === "snapshot" || name === "heartbeat");
        }
        if (name === "heartbeat") {
          const at = performance.now();
          if (beganAt !== null) this.#gaps = [...this.#gaps.slice(-2), at - beganAt];
          beganAt = at;
          // A snapshot has no id: the first heartbeat behind it says where it stood.
          if (!this.#id) this.#id = said.last_id;
          else if (said.last_id !== this.#id) {
            if (this.#hole === this.#id) this.#id = ""; // coming back from here has not filled it: from scratch, then
            this.#hole = this.#id;
            this.#cut("hole", stream);
          }
        } else if (name === "reset") {
          this.#id = "";
        } else if (name === "drain") {
          const waitMs = Math.random() * said.retry_ms;
          stream.backAt = performance.now() + waitMs;
          setTimeout(() => this.#cut("drain", stream), waitMs);
        }
        if (id) this.#id = id;
        this.tell(name, said);
        if (name === "kicked") {
          this.#end("refused", said.reason);
          return 0;
        }
      }
    } catch (error) {
      if (!stream.why) throw error;
    } finally {
      clearTimeout(watchdog);
      clearTimeout(silent);
    }
    if (stream.why === "hole") return Math.random() * this.#retryMs; // others will have seen it too
    return stream.backAt === undefined ? null : Math.max(0, stream.backAt - performance.now());
  }

  #interval() {
    return this.#gaps.length === 0 ? HEARTBEAT_MS : Math.max(HEARTBEAT_MIN_MS, ...this.#gaps);
  }

  #cut(why, stream = this.#stream) {
    if (!stream || stream.signal.aborted) return;
    stream.why = why;
    stream.abort();
  }

  /** The page is looked at again, or the line is back: a socket may have died without a word meanwhile. */
  #wake(event) {
    if (event.type === "visibilitychange" && document.visibilityState !== "visible") return;
    if (event.type === "pageshow" && !event.persisted) return;
    if (this.#poller) {
      this.#stopPolling();
      this.#poll();
    }
    this.#again(event.type !== "visibilitychange");
  }

  /** Open a stream now; one that was heard just now is left alone, unless it is `surely` dead. */
  #again(surely) {
    this.#failures = 0;
    if (this.#nap) this.#nap.abort();
    else if (surely || performance.now() - this.#heardAt > FRESH_MS) this.#cut("wake");
  }

  /** Whether an error ends it. */
  #final(error) {
    if (error?.temporary !== false || ![401, 403, 404].includes(error.status)) return false;
    this.#end("refused", error.code);
    return true;
  }

  /** The stream is over. Who has not seen the end, after a reload perhaps, gets it once more. */
  async #over() {
    if (this.view.phase !== "finished") {
      this.tell("snapshot", await this.#state());
    }
    this.#end("over");
  }

  #end(state, code = null) {
    if (!this.#life) return;
    this.stop();
    this.#say(state, { code, attempt: 0, fault: null, retryAt: null });
  }

  // ── without a stream ──────────────────────────────────────────────────────────────────────────────────────────

  async #silent(stream) {
    stream.late = true;
    if (this.connection.state !== "polling") {
      this.#say("silent", { fault: "line" });
      this.#poll();
    }
    // When it was opened, somebody in between holds it back. When it was not, it may be the server that hangs.
    if (stream.opened || !(await this.#alive())) return;
    if (!stream.signal.aborted && !stream.heard) this.#say(this.connection.state, { fault: "server" });
  }

  async #lost(error, waitMs) {
    const answered = error?.status >= 400;
    const retryAt = this.now() + waitMs;
    if (this.#failures >= FAILURES_MAX) this.#poll();
    if (this.connection.state === "polling") return this.#say("polling", { retryAt }); // that gets through
    this.#say("lost", { fault: answered ? "server" : "line", retryAt });
    if (answered || navigator.onLine === false || !(await this.#alive())) return;
    if (this.connection.state === "lost") this.#say("lost", { fault: "server" });
  }

  /** Whether the server answers anything at all; what it says is not readable from other sites, nor needed. */
  async #alive() {
    const stopper = new AbortController();
    const timer = setTimeout(() => stopper.abort(), PROBE_MS);
    const asked = fetch(`${this.server}/livez`, { mode: "no-cors", cache: "no-store", signal: stopper.signal });
    const answered = await asked.then(() => true).catch(() => false);
    clearTimeout(timer);
    return answered;
  }

  async #poll() {
    if (this.#poller || !this.#life) return;
    const poller = (this.#poller = new AbortController());
    const { signal } = poller;
    for (let failures = 0; !signal.aborted; ) {
      let waitMs = POLL_MS * (0.5 + Math.random());
      try {
        const state = await this.#state(signal);
        if (failures > 0) this.#again(false); // the line is back
        failures = 0;
        this.#polls += 1;
        this.#id = ""; // the view is now newer than that
        this.#clock.sample(state.server_now_at, true);
        this.#say("polling", { fault: this.connection.fault }); // the stream's
        this.tell("snapshot", state);
        if (state.phase === "finished") return this.#end("over");
      } catch (error) {
        if (signal.aborted) return;
        if (error.status !== 401 && this.#final(error)) return; // the stream sees to a new token
        failures += 1;
        waitMs = pause(failures, POLL_MS, error);
        if (this.connection.state === "polling") this.#say("lost", { fault: error.status > 0 ? "server" : "line" });
      }
      await sleep(waitMs, signal);
    }
  }

  #state(signal) {
    const options = { token: this.token, headers: this.#headers, timeoutMs: POLL_TIMEOUT_MS, signal };
    return call(this.server, "GET", `/games/${this.gameId}/state`, options);
  }

  #stopPolling() {
    this.#poller?.abort();
    this.#poller = null;
  }

  /** The state, and what changes with it; a new state begins without fault, code and retry. */
  #say(state, change = {}) {
    const before = this.connection;
    const kept = before.state === state ? before : { fault: null, code: null, retryAt: null, since: this.now() };
    this.connection = { ...kept, state, attempt: this.#failures, ...change };
    if (Object.keys(before).every((part) => before[part] === this.connection[part])) return;
    this.dispatchEvent(new CustomEvent("connection", { detail: this.connection }));
  }
}

function pause(failures, baseMs, error) {
  return backoff(failures, {
    baseMs,
    capMs: error?.status > 0 ? undefined : LINE_CAP_MS,
    atLeastMs: error?.retryAfterMs ?? 0,
  });
}

function parsed(json) {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
