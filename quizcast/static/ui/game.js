// A game's stream as a page's state: what it shows is what all events so far come to.
import { useEffect, useMemo, useState } from "./html.js";
import { Game, Outbox } from "../quizcast.js";

/**
 * Follow a game as long as the page is there. `who` is what `Game` takes; with `answers`, an outbox goes along.
 * @returns {{ game: Game, view: object, connection: object, now: () => number, outbox: Outbox | null }}
 */
export function useGame(who, { answers = false } = {}) {
  const [, redraw] = useState(0);
  const parts = useMemo(() => {
    const game = new Game({ server: "", ...who });
    return { game, now: () => game.now(), outbox: answers ? new Outbox(game) : null };
  }, [who.gameId, who.token]);
  useEffect(() => {
    const { game, outbox } = parts;
    const changed = () => redraw((times) => times + 1);
    game.addEventListener("change", changed);
    game.addEventListener("connection", changed);
    outbox?.addEventListener("change", changed);
    game.start();
    return () => {
      game.stop();
      outbox?.close();
    };
  }, [parts]);
  return { ...parts, view: parts.game.view, connection: parts.game.connection };
}
