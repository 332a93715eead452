// The door: a PIN, then a name. What goes wrong is said at the field, in words that tell what to do.
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { t, tError, tList } from "../ui/i18n.js";
import { Field, Main } from "../ui/parts.js";

const NAME_MAX = 20; // as many fit a line of the leaderboard

/** Ask for a PIN. `onPin(pin)`; `wrong` is why the last one was no good; `again` is a game to go back to. */
export function AskPin({ onPin, wrong, again }) {
  const input = useRef(null);
  const [pin, setPin] = useState("");
  useEffect(() => input.current.focus(), []);
  const send = (event) => {
    event.preventDefault();
    if (pin) onPin(pin);
  };
  return html`<${Main} class="middle stack fill centred"><form class="stack centred" onSubmit=${send}>
    <h1>${t("join.title")}</h1>
    <div class="stack door card">
      <${Field} id="pin" label=${t("join.pin")} hint=${t("join.pin_hint")} wrong=${wrong}>
        <input id="pin" ref=${input} class="pin-input" inputmode="numeric" autocomplete="off" required maxlength="12"
          aria-describedby=${wrong ? "pin-wrong" : "pin-hint"} aria-invalid=${!!wrong} value=${pin}
          onInput=${(event) => setPin(event.target.value.replace(/\D/g, ""))} />
      <//>
      <button class="button primary big block">${t("join.go")}</button>
    </div>
    ${again && html`<a class="button quiet" href=${`/join/${again.pin}`}>${t("join.again", { name: again.nickname })}</a>`}
    <p class="muted small">${t("join.hosting")} <a href="/host">${t("join.host")}</a></p>
  </form><//>`;
}

/** Ask for a nickname. `onName(name)` resolves to an error's code, or to nothing when they are in. */
export function AskName({ pin, onName, onOtherPin }) {
  const input = useRef(null);
  const [name, setName] = useState("");
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => input.current.focus(), []);
  const send = async (event) => {
    event.preventDefault();
    if (busy || !name.trim()) return;
    setBusy(true);
    setWrong("");
    const code = await onName(name.trim());
    setBusy(false);
    if (code) {
      setWrong(tError(code));
      input.current?.focus();
    }
  };
  return html`<${Main} class="middle stack fill centred"><form class="stack centred" onSubmit=${send}>
    <h1>${t("join.name_title")}</h1>
    <div class="stack door card">
      <${Field} id="name" label=${t("join.name")} hint=${t("join.name_hint")} wrong=${wrong}>
        <input id="name" ref=${input} autocomplete="nickname" required maxlength=${NAME_MAX} dir="auto" value=${name}
          aria-describedby=${wrong ? "name-wrong" : "name-hint"} aria-invalid=${!!wrong}
          onInput=${(event) => setName(event.target.value)} />
      <//>
      <button type="button" class="button block" onClick=${() => setName(suggestion())}>${t("join.suggest")}</button>
      <button class="button primary big block" disabled=${busy}>${t(busy ? "join.joining" : "join.join")}</button>
    </div>
    <button type="button" class="button quiet" onClick=${onOtherPin}>${t("join.other_pin", { pin })}</button>
  </form><//>`;
}

/** A friendly name in the reader's language; two digits keep a thousand of them apart. */
function suggestion() {
  const pick = (list) => list[Math.floor(Math.random() * list.length)];
  const name = t("nick.form", { adjective: pick(tList("nick.adjectives")), animal: pick(tList("nick.animals")) });
  return `${name.slice(0, NAME_MAX - 3)} ${10 + Math.floor(Math.random() * 90)}`;
}
