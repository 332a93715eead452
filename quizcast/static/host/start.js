// Starting a game: the options that matter before anybody is there, kept for the next time on this device.
import { html, useState } from "../ui/html.js";
import { t } from "../ui/i18n.js";
import { newKey } from "../quizcast.js";
import { Dialog } from "../ui/parts.js";
import { reason } from "./parts.js";
import { navigate } from "./router.js";
import { api } from "./session.js";

const STORED = "quizcast.options";
const SWITCHES = ["speed_scoring", "streak_bonus", "close_when_all_answered", "late_join"];
const PLACES = ["both", "phones", "screen"];
const DEFAULTS = { ...Object.fromEntries(SWITCHES.map((name) => [name, true])), question_on: "both" };

/** The dialog for a quiz `{id, title}`; `note` is what should be known before. Leads to the game. */
export function Start({ quiz, note, onClose }) {
  const [options, set] = useState(remembered);
  const [busy, work] = useState(false);
  const [wrong, fail] = useState(null);
  const [key] = useState(newKey); // a second press is a repeat, not a second game
  const choose = (name, value) => set((before) => ({ ...before, [name]: value }));
  const start = async (event) => {
    event.preventDefault();
    work(true);
    fail(null);
    try {
      localStorage.setItem(STORED, JSON.stringify(options));
      const game = await api("POST", "/games", { body: { quiz_id: quiz.id, options }, key, tries: 3 });
      await navigate(`/host/games/${game.id}`);
    } catch (error) {
      fail(reason(error));
      work(false);
    }
  };
  return html`<${Dialog} title=${t("host.start_title", { title: quiz.title })} onClose=${onClose}>
    <form class="stack" onSubmit=${start}>
      ${note && html`<p class="note">${note}</p>`}
      <button class="button primary big block" autofocus disabled=${busy}>${t("host.start_now")}</button>
      ${wrong && html`<p class="note" data-tone="bad" role="alert">${wrong}</p>`}
      <fieldset class="stack tight">
        <legend class="unseen">${t("host.options")}</legend>
        ${SWITCHES.map(
          (name) => html`<label class="tick option" key=${name}>
            <input type="checkbox" checked=${options[name]} onChange=${({ target }) => choose(name, target.checked)} />
            <span><b>${t(`host.option_${name}`)}</b><br /><span class="muted small">${t(`host.option_${name}_hint`)}</span></span>
          </label>`,
        )}
        <div class="field">
          <label for="question-on">${t("host.question_on")}</label>
          <select id="question-on" value=${options.question_on} onChange=${({ target }) => choose("question_on", target.value)}>
            ${PLACES.map((place) => html`<option value=${place}>${t(`host.question_on_${place}`)}</option>`)}
          </select>
        </div>
      </fieldset>
    </form>
  <//>`;
}

function remembered() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORED)) ?? {};
    const known = Object.entries(kept).filter(([name]) => name in DEFAULTS);
    return { ...DEFAULTS, ...Object.fromEntries(known) };
  } catch {
    return DEFAULTS;
  }
}
