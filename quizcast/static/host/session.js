// Who is logged in, and calls in that host's name. The tokens are in HttpOnly cookies; what a page may know of them, who
// and until when, is in localStorage, where all tabs see it. A refresh token is spent once: one tab at a time renews.
import { ApiError, call } from "../quizcast.js";

const STORED = "quizcast.host";
const EARLY_MS = 60_000; // before the access token's end, so that no call meets it
export const COOKIES = { "X-Quizcast-Session": "cookie" };
const LOCK = "quizcast.host.renew";

/** `state` is "in", "out" or "ended" (was in until just now); tells `change`. */
class Session extends EventTarget {
  state = stored() ? "in" : "out";
  host = stored()?.host ?? null;

  become(state, host = this.host) {
    this.state = state;
    this.host = host;
    this.dispatchEvent(new Event("change"));
  }
}

export const session = new Session();

/** A call in the host's name, as `call` of quizcast.js. When the session has ended it waits for the next login. */
export async function api(method, path, options) {
  for (;;) {
    const known = stored();
    if (known && known.expiresAt - EARLY_MS < Date.now()) await renewed(known);
    try {
      return await call("", method, path, options);
    } catch (error) {
      if (error.status !== 401) throw error;
      if (await renewed(stored())) continue;
      await nextLogin();
    }
  }
}

/** Have a token that lasts a while, for what the browser asks for by itself: downloads. */
export async function freshen() {
  await api("GET", "/me");
}

export const logIn = (wish) => enter("/auth/login", wish);
export const signUp = (wish) => enter("/auth/register", wish);

/** End the session, here and in other tabs. */
export async function logOut() {
  try {
    await call("", "POST", "/auth/logout", { headers: COOKIES });
  } catch (error) {
    if (error.status !== 401) throw error;
  }
  localStorage.removeItem(STORED);
  session.become("out", null);
}

/** Whether there is a session: at a page's start, before anything is shown. */
export async function begin() {
  const known = stored();
  if (!known) return false;
  if (known.expiresAt - EARLY_MS < Date.now() && !(await renewed(known))) session.become("out", null);
  plan();
  return session.state === "in";
}

async function enter(path, wish) {
  const reply = await call("", "POST", path, { body: wish, headers: COOKIES });
  const before = session.host;
  keep(reply);
  session.become("in", reply.host);
  if (before && before.id !== reply.host.id) location.assign("/host"); // what is on the page is somebody else's
}

/** Spend the refresh token, unless another tab did so since `seen`. False when there is no session any more. */
function renewed(seen) {
  if (!seen) return Promise.resolve(false);
  return alone(async () => {
    const now = stored();
    if (now && now.expiresAt !== seen.expiresAt) return true;
    if (!now) return false;
    try {
      keep(await call("", "POST", "/auth/refresh", { headers: COOKIES }));
      return true;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      localStorage.removeItem(STORED);
      return false;
    }
  });
}

// Locks need https or localhost; a school's http address has one tab at a time in this module and hopes for the best.
let last = Promise.resolve();
function alone(work) {
  if (navigator.locks) return navigator.locks.request(LOCK, work);
  const mine = last.then(work);
  last = mine.catch(() => {});
  return mine;
}

function nextLogin() {
  if (session.state === "in") session.become("ended");
  return new Promise((resolve) => {
    const look = () => {
      if (session.state !== "in") return;
      session.removeEventListener("change", look);
      resolve();
    };
    session.addEventListener("change", look);
  });
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORED));
  } catch {
    return null;
  }
}

function keep({ host, expires_in }) {
  localStorage.setItem(STORED, JSON.stringify({ host, expiresAt: Date.now() + expires_in * 1000 }));
  plan();
}

let timer;
function plan() {
  clearTimeout(timer);
  const known = stored();
  if (!known) return;
  timer = setTimeout(() => renewed(known).then(plan, () => {}), Math.max(0, known.expiresAt - EARLY_MS - Date.now()));
}

addEventListener("storage", ({ key }) => {
  if (key !== STORED) return;
  const known = stored();
  if (!known && session.state === "in") session.become("ended");
  else if (known && session.host && known.host.id !== session.host.id) location.assign("/host");
  else if (known && session.state !== "in") session.become("in", known.host);
  plan();
});
