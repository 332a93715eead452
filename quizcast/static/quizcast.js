/**
 * The client of quizcast's contract, for any page on any site: no build step, no dependency. docs/client.md tells how
 * to use it; this is the one address to import.
 *
 *   call(server, method, path, options)   one call of the API → its body; throws ApiError
 *   command(server, gameId, action, body, options)   what a host does to a game; repeated safely until it has an answer
 *   join(server, { pin, nickname, token })   take part → { gameId, participantId, nickname, token }
 *   new Game({ server, gameId, participantId, token })   the stream: view, connection, now(), start(), stop()
 *   new Outbox(game)   answers that arrive: answer(question, value), get(question)
 *   fold(view, name, data), EMPTY   the pure reducer behind Game.view
 */
export { ApiError, call, command, join, newKey } from "./client/api.js";
export { EMPTY, fold } from "./client/fold.js";
export { Game } from "./client/game.js";
export { Outbox } from "./client/outbox.js";
