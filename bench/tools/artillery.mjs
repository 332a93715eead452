// What artillery.yml cannot say: the host's steps, who joins, and what an answer of the server means.

import { API, finishGame, openGame, pauseS, somebody } from './game.js';

/** `before`: its variables become everybody's. */
export async function open(context) {
  Object.assign(context.vars, await openGame(post(context)));
}

/** `after` */
export async function finish(context) {
  await finishGame(post(context), context.vars);
}

export async function arrive(context) {
  Object.assign(context.vars, somebody(), { tries: 0 });
}

/** After each response: settled, to be tried again, or refused, which ends this participant's visit. */
export async function heard(request, response, context, events) {
  const { vars } = context;
  vars.tries += 1;
  vars.waitS = pauseS(response.statusCode, response.headers['retry-after'], vars.tries);
  if (vars.waitS) {
    events.emit('counter', 'throttled', 1);
    return;
  }
  vars.tries = 0;
  if (response.statusCode === 201) {
    vars.token = JSON.parse(response.body).token;
  } else if (response.statusCode === 202) {
    events.emit('counter', 'answers.taken', 1);
    events.emit('histogram', 'ack_ms', response.timings.phases.firstByte); // from the last byte sent
  } else {
    throw new Error(`refused with ${response.statusCode}`);
  }
}

/** Whether a loop goes round once more, after the wait that the server asked for. Artillery wants a callback here. */
export function again(context, next) {
  const { waitS } = context.vars;
  if (waitS) setTimeout(next, waitS * 1000, true);
  else next(false);
}

function post(context) {
  return async (path, body, token) => {
    const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
    const reply = await fetch(context.vars.target + API + path, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`);
    return reply.json();
  };
}
