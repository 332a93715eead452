// /host/games/ID. `Page({ gameId })` is what main.js shows there.
import { html } from "../ui/html.js";
import { t } from "../ui/i18n.js";
import { reason, useFetched } from "./parts.js";
import { Link } from "./router.js";
import { api } from "./session.js";

export function Page({ gameId }) {
  const [game, error] = useFetched(() => api("GET", `/games/${gameId}`), [gameId]);
  return html`<div class="middle stack">
    ${error && html`<p class="note" data-tone="bad" role="alert">${reason(error)}</p>`}
    ${game && html`<h1>${t("host.pin", { pin: game.pin })}</h1><p><span class="chip">${t(`host.phase_${game.phase}`)}</span></p>`}
    <p><${Link} href="/host">${t("host.to_quizzes")}<//></p>
  </div>`;
}
