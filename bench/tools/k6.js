// People join a game and answer its question, at a steady rate, over plain HTTP: k6 cannot read event streams.
// `make load-k6` sets URL, RATE (people a second), DURATION (s) and ACK_P99_MS; docs/load-tests.md says more.
// Exit status 99 when a threshold is broken.

import { check, sleep } from 'k6';
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';

import { API, finishGame, openGame, pauseS, somebody } from './game.js';

const api = __ENV.URL + API;
const rate = Number(__ENV.RATE);
const ackMs = new Trend('ack_ms', true); // of answers that were taken
const throttled = new Counter('throttled'); // 429 and 503, waited out as the server asked

export const options = {
  noVUConnectionReuse: true, // each participant is a phone of its own
  scenarios: {
    participants: {
      executor: 'constant-arrival-rate',
      rate,
      timeUnit: '1s',
      duration: `${__ENV.DURATION}s`,
      preAllocatedVUs: 4 * rate, // a visit takes a second at most, and longer for who is told to wait
      maxVUs: 8 * rate,
    },
  },
  summaryTrendStats: ['med', 'p(90)', 'p(99)', 'max'],
  thresholds: {
    ack_ms: [`p(99)<${__ENV.ACK_P99_MS}`],
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    dropped_iterations: ['count==0'], // people whom k6 had no room to send
    iterations: ['count>0'],
  },
};

http.setResponseCallback(http.expectedStatuses(200, 201, 202, 429, 503));

export async function setup() {
  return openGame(post);
}

export default function (game) {
  const me = somebody();
  const joined = insist('/join', { pin: game.pin, nickname: me.nickname }, { 'Idempotency-Key': me.key });
  if (!check(joined, { 'joined (201)': (reply) => reply.status === 201 })) return;

  sleep(me.thinkMs / 1000);
  const answer = { question: 0, answer: me.answer };
  const taken = insist(`/games/${game.gameId}/answers`, answer, { Authorization: `Bearer ${joined.json('token')}` });
  if (check(taken, { 'answer taken (202)': (reply) => reply.status === 202 })) ackMs.add(taken.timings.duration);
}

export async function teardown(game) {
  await finishGame(post, game);
}

function send(path, body, headers) {
  return http.post(api + path, JSON.stringify(body), { headers: { 'Content-Type': 'application/json', ...headers } });
}

function insist(path, body, headers) {
  for (let tries = 1; ; tries++) {
    const reply = send(path, body, headers);
    const wait = pauseS(reply.status, reply.headers['Retry-After'], tries);
    if (!wait) return reply;
    throttled.add(1);
    sleep(wait);
  }
}

function post(path, body, token) {
  const reply = send(path, body, token ? { Authorization: `Bearer ${token}` } : {});
  if (reply.status < 200 || reply.status > 299) throw new Error(`${path}: ${reply.status} ${reply.body || reply.error}`);
  return reply.json();
}
