// /host/games/ID: the controls while a game is played, the report once it is over. `Page({ gameId })`.
import { html, useEffect, useState } from "../ui/html.js";
import { t } from "../ui/i18n.js";
import { Control } from "./control.js";
import { reason, useFetched } from "./parts.js";
import { Report } from "./report.js";
import { Link } from "./router.js";
import { api } from "./session.js";

export function Page({ gameId }) {
  const [game, error] = useFetched(() => api("GET", `/games/${gameId}`), [gameId]);
  const [over, end] = useState(false);
  useEffect(() => {
    if (game) document.title = `${game.title} · quizcast`;
  }, [game]);
  if (error) {
    return html`<div class="middle stack">
      <p class="note" data-tone="bad" role="alert">${reason(error)}</p>
      <p><${Link} class="button" href="/host">${t("host.to_quizzes")}<//></p>
    </div>`;
  }
  if (!game) return html`<p class="middle muted" role="status">${t("host.loading")}</p>`;
  if (over || game.phase === "finished") return html`<${Report} gameId=${gameId} />`;
  return html`<${Control} game=${game} onReport=${() => end(true)} />`;
}
