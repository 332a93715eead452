// What the k6 and the Artillery script share: the host's steps, who joins, and how long to wait when told to.
// It runs in k6 and in Node, so it imports nothing. `post(path, body, token)` is the caller's: it brings the parsed
// answer, at once or as a promise, and throws when the server refuses.

export const API = '/api/v1';

const TRIES_MAX = 5;
const QUESTION = {
  kind: 'single',
  prompt: 'Does it hold?',
  choices: [{ text: 'yes', correct: true }, { text: 'no' }],
  time_limit_ms: 3_600_000, // the longest that the server takes: a run has to be shorter
};
const OPTIONS = {
  max_participants: 100_000, // the most that the server takes
  close_when_all_answered: false, // or it would close on the first who is quick
  lead_ms: 0,
};

/** Register a throwaway host who opens a game and asks its one question. */
export async function openGame(post) {
  const account = { email: `load-${random()}@example.org`, password: random(), name: 'Load test' };
  const host = await post('/auth/register', account);
  const quiz = await post('/quizzes', { title: 'Load test', questions: [QUESTION] }, host.access_token);
  const game = await post('/games', { quiz_id: quiz.id, options: OPTIONS }, host.access_token);
  await post(`/games/${game.id}/open`, {}, host.access_token);
  return { gameId: game.id, pin: game.pin, refreshToken: host.refresh_token };
}

/** Close the question and end the game. */
export async function finishGame(post, { gameId, refreshToken }) {
  const host = await post('/auth/refresh', { refresh_token: refreshToken }); // a run may outlive the access token
  await post(`/games/${gameId}/close`, {}, host.access_token);
  await post(`/games/${gameId}/finish`, {}, host.access_token);
}

/** Somebody new: their nickname, the Idempotency-Key of their join, how long they think, and their answer. */
export function somebody() {
  return {
    nickname: random().slice(0, 16),
    key: random(),
    thinkMs: Math.floor(Math.random() * 1000),
    answer: Math.floor(Math.random() * QUESTION.choices.length),
  };
}

/**
 * How many seconds to wait before sending the same request again; 0: it is settled, or has been tried often enough.
 * With 429 and 503 the server spreads a crowd; all coming back at the same instant would undo that.
 */
export function pauseS(status, retryAfter, tries) {
  if ((status !== 429 && status !== 503) || tries >= TRIES_MAX) return 0;
  return (Number(retryAfter) || 1) * (1 + Math.random());
}

function random() {
  const digits = () => Math.random().toString(36).slice(2, 12).padEnd(10, '0');
  return digits() + digits();
}
