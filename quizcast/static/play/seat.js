// Where one sits: kept in the browser, so that a reload, a closed tab or an empty battery cost nobody their points.

const PREFIX = "quizcast.seat.";
const LIFE_MS = 86_400_000; // a participant's token lives as long

/** @typedef {{ gameId: string, participantId: string, nickname: string, token: string, pin: string }} Seat */

/** Keep a seat. Without storage (private windows of some browsers) the page goes on, and only a reload loses it. */
export function keep(seat) {
  try {
    localStorage.setItem(PREFIX + seat.gameId, JSON.stringify({ ...seat, at: Date.now() }));
  } catch {
    return;
  }
}

/** Give a seat up. */
export function forget(gameId) {
  try {
    localStorage.removeItem(PREFIX + gameId);
  } catch {
    return;
  }
}

/** The seat in the game with this PIN; PINs come again, so only the newest counts. */
export function of(pin) {
  return seats().find((seat) => seat.pin === pin) ?? null;
}

/** The seat that was taken last. */
export function latest() {
  return seats()[0] ?? null;
}

/** @returns {Seat[]} the newest first; what is too old goes */
function seats() {
  try {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
    const all = keys.map((key) => JSON.parse(localStorage.getItem(key)));
    for (const old of all.filter((seat) => Date.now() - seat.at > LIFE_MS)) forget(old.gameId);
    return all.filter((seat) => Date.now() - seat.at <= LIFE_MS).sort((a, b) => b.at - a.at);
  } catch {
    return [];
  }
}
