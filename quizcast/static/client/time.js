/** Waiting, and the server's time. */

const STALE_MS = 600_000; // a phone's quartz strays by some 30 ms in ten minutes: then the best sample is no more the best

/**
 * Full jitter: anything between nothing and a bound that doubles with each failure, on top of what the server demands.
 * Without it all phones of a hall would come back in the same moment, and again in the same moment.
 * @param {number} failures so far, 0 for none
 * @param {{ baseMs?: number, capMs?: number, atLeastMs?: number }} [options]
 */
export function backoff(failures, { baseMs = 500, capMs = 15_000, atLeastMs = 0 } = {}) {
  return atLeastMs + Math.random() * Math.min(capMs, baseMs * 2 ** Math.min(failures, 20));
}

/**
 * Wait so long, or until `signal` cuts it short; never rejects.
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
    if (signal?.aborted) done();
  });
}

/**
 * The server's clock, from the stamps in what it sends. A stamp is late by the time it was under way, so that of all
 * differences the largest is the truest. The phone's own clock is not asked: it may be wrong, and may be set meanwhile.
 */
export class Clock {
  #best = null;
  #last = -Infinity;

  /**
   * @param {number} serverNow the stamp, in ms
   * @param {boolean} fresh whether it was made as it was sent; a replayed event's is older
   */
  sample(serverNow, fresh) {
    const at = performance.now();
    const offset = serverNow - at;
    if (!Number.isFinite(offset)) return;
    const best = this.#best;
    if (!best || offset >= best.offset || (fresh && at - best.at > STALE_MS)) this.#best = { at, offset };
  }

  /** Whether there was a stamp yet. */
  get synced() {
    return this.#best !== null;
  }

  /** ms since the epoch; never less than before. Until the first stamp it is the phone's own guess. */
  now() {
    if (!this.#best) return Date.now();
    this.#last = Math.max(this.#last, performance.now() + this.#best.offset);
    return this.#last;
  }
}
