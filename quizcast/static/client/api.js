/** Calls of the API: JSON in and out, problem documents as errors, repeats that are safe. */

import { backoff, sleep } from "./time.js";

const TIMEOUT_MS = 15_000;
const TRIES = 5; // of what is repeated by itself: some 8 s on average, after which a person wants to be told

/** What came instead of the answer. `status` 0: no answer at all (`code` "unreachable", "timeout" or "garbled"). */
export class ApiError extends Error {
  /** @param {{ status: number, code?: string, detail?: string, errors?: { path: string, message: string }[], retryAfterMs?: number | null }} problem */
  constructor({ status, code, detail, errors = [], retryAfterMs = null }) {
    super(detail ?? code ?? `HTTP ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.code = code ?? `http_${status}`;
    this.detail = this.message;
    this.errors = errors;
    this.retryAfterMs = retryAfterMs;
    /** Whether the same request may well succeed later. What has no `code` of quizcast's was said by something in between. */
    this.temporary = !code || status === 0 || status === 408 || status === 429 || status >= 500;
  }
}

/** A response that is no success, as an error. */
export async function problemOf(response) {
  const seconds = Number(response.headers.get("Retry-After") || NaN);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : null;
  const problem = await response.json().catch(() => null);
  const { code, detail, errors } = problem ?? {};
  return new ApiError({ status: response.status, code, detail, errors, retryAfterMs });
}

/**
 * @typedef {object} CallOptions
 * @property {string | null} [token] sent as `Authorization: Bearer`; without it, cookies of the same origin count
 * @property {unknown} [body] sent as JSON; a Blob or FormData as it is
 * @property {string} [key] Idempotency-Key: the same key brings the same thing, however often it is sent
 * @property {string} [ifMatch] a quiz's ETag, `"${version}"` in double quotes
 * @property {Record<string, string>} [headers] others
 * @property {number} [tries] how often to try where an error is `temporary`; 1 unless said. Give a `key` where there may be one
 * @property {number} [timeoutMs] of one try
 * @property {"json" | "blob"} [as] how to read the answer
 * @property {boolean} [keepalive] let it outlive the page
 * @property {AbortSignal} [signal] ends it; then its reason is thrown
 */

/**
 * One call. Gives the body, null where there is none; throws `ApiError`.
 * @param {string} server "" for the page's own, else like "https://quiz.example.org"
 * @param {string} method
 * @param {string} path below /api/v1
 * @param {CallOptions} [options]
 */
export async function call(server, method, path, options = {}) {
  for (let failures = 0; ; failures += 1) {
    try {
      return await once(server, method, path, options);
    } catch (error) {
      if (!error.temporary || failures + 1 >= (options.tries ?? 1)) throw error;
      await sleep(backoff(failures, { atLeastMs: error.retryAfterMs ?? 0 }), options.signal);
    }
  }
}

async function once(server, method, path, options) {
  const { token, body, key, ifMatch, signal, timeoutMs = TIMEOUT_MS, as = "json", keepalive = false } = options;
  const asItIs = body instanceof Blob || body instanceof FormData;
  const headers = { Accept: "application/json", ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (key) headers["Idempotency-Key"] = key;
  if (ifMatch) headers["If-Match"] = ifMatch;
  if (body !== undefined && !asItIs) headers["Content-Type"] = "application/json";
  const stopper = new AbortController();
  const stop = () => stopper.abort();
  const timer = setTimeout(stop, timeoutMs);
  signal?.addEventListener("abort", stop);
  try {
    signal?.throwIfAborted();
    const response = await fetch(`${server}/api/v1${path}`, {
      method,
      headers,
      body: asItIs || body === undefined ? body : JSON.stringify(body),
      signal: stopper.signal,
      cache: "no-store",
      keepalive,
    });
    if (!response.ok) throw await problemOf(response);
    if (response.status === 204) return null;
    return as === "blob" ? await response.blob() : await response.json();
  } catch (error) {
    if (error instanceof ApiError) throw error;
    signal?.throwIfAborted();
    // A success that is no JSON is a hotel's log-in page, not an answer.
    const code = stopper.signal.aborted ? "timeout" : error instanceof SyntaxError ? "garbled" : "unreachable";
    throw new ApiError({ status: 0, code, detail: String(error.message) });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** A name for a request and all its repeats. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * What a host does to a game: "open", "extend", "close", "leaderboard", "finish", "lock". Acts once, however often it was sent,
 * and is repeated for a while by itself. Gives the Game; throws `ApiError`.
 * @param {string} server
 * @param {string} gameId
 * @param {string} action
 * @param {object} [body]
 * @param {CallOptions} [options] `key` only for a repeat of your own
 */
export function command(server, gameId, action, body, options = {}) {
  return call(server, "POST", `/games/${gameId}/${action}`, { key: newKey(), tries: TRIES, ...options, body });
}

const joining = new Map(); // keys of joins without an answer: pressing "join" again is a repeat, not somebody else

/**
 * Take part. Repeated for a while by itself, and a lost reply is no taken nickname. Throws `ApiError`.
 * @param {string} server
 * @param {{ pin: string, nickname: string, token?: string, key?: string, signal?: AbortSignal }} who `token`: from an
 *   earlier `join` of this game, to come back as the same participant
 * @returns {Promise<{ gameId: string, participantId: string, nickname: string, token: string }>}
 */
export async function join(server, { pin, nickname, token, key, signal }) {
  const name = JSON.stringify([server, pin, nickname]);
  const known = key ?? joining.get(name) ?? newKey();
  joining.set(name, known);
  const body = { pin, nickname, ...(token && { participant_token: token }) };
  const joined = await call(server, "POST", "/join", { body, key: known, tries: TRIES, signal });
  joining.delete(name);
  return {
    gameId: joined.game_id,
    participantId: joined.participant_id,
    nickname: joined.nickname,
    token: joined.token,
  };
}
