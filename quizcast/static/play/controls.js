// How each kind of question is answered: one clear control a kind. `onAnswer(value)` takes what the contract wants.
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { t, tNumber } from "../ui/i18n.js";
import { LETTERS, Mark, Tile } from "../ui/marks.js";

const TEXT_MAX = 200;
const WORD_MAX = 60;

/** The control of a question (the event's data). `disabled` while nothing can be answered. */
export function Control({ question, onAnswer, disabled = false }) {
  const part = CONTROLS[question.kind];
  return part ? html`<${part} question=${question} onAnswer=${onAnswer} disabled=${disabled} />` : html`<p class="note">${t("play.kind_unknown")}</p>`;
}

function One({ question, onAnswer, disabled }) {
  return html`<div class="tiles">
    ${question.choices.map(
      ({ text }, choice) => html`<${Tile} key=${choice} choice=${choice} text=${text} disabled=${disabled} onPick=${() => onAnswer(choice)} />`,
    )}
  </div>`;
}

function Several({ question, onAnswer, disabled }) {
  const [picked, setPicked] = useState([]);
  const flip = (choice) =>
    setPicked((all) => (all.includes(choice) ? all.filter((one) => one !== choice) : [...all, choice].sort((a, b) => a - b)));
  return html`<div class="stack">
    <p class="muted">${t("play.several")}</p>
    <div class="tiles" role="group">
      ${question.choices.map(
        ({ text }, choice) => html`<${Tile} key=${choice} choice=${choice} text=${text} disabled=${disabled} role="checkbox"
          pressed=${picked.includes(choice)} dim=${!picked.includes(choice)} onPick=${() => flip(choice)} />`,
      )}
    </div>
    <${Send} disabled=${disabled || !picked.length} onSend=${() => onAnswer(picked)} />
  </div>`;
}

function TrueFalse({ onAnswer, disabled }) {
  return html`<div class="tiles">
    <${Tile} choice=${0} text=${t("answer.true")} label=${t("answer.true")} disabled=${disabled} onPick=${() => onAnswer(true)} />
    <${Tile} choice=${1} text=${t("answer.false")} label=${t("answer.false")} disabled=${disabled} onPick=${() => onAnswer(false)} />
  </div>`;
}

function Numeric({ question: { min, max }, onAnswer, disabled }) {
  const ranged = min !== undefined && max !== undefined && max > min;
  const [text, setText] = useState("");
  const value = readNumber(text);
  const outside = value !== null && ((min !== undefined && value < min) || (max !== undefined && value > max));
  const send = (event) => {
    event.preventDefault();
    if (value !== null && !outside) onAnswer(value);
  };
  const bounds = min !== undefined || max !== undefined ? t("play.between", { min: min ?? "…", max: max ?? "…" }) : "";
  return html`<form class="stack" onSubmit=${send}>
    <div class="field">
      <label for="number">${t("play.number")}</label>
      <input id="number" class="big-input number" inputmode=${min >= 0 ? "decimal" : "text"} autocomplete="off" value=${text}
        disabled=${disabled} aria-describedby="number-hint" aria-invalid=${outside} onInput=${(event) => setText(event.target.value)} />
      <p class=${outside ? "wrong" : "hint"} id="number-hint">${bounds}</p>
    </div>
    ${ranged &&
    html`<input type="range" class="slider" min=${min} max=${max} step=${step(min, max)} value=${value ?? (min + max) / 2} disabled=${disabled}
      aria-label=${t("play.number")} onInput=${(event) => setText(written(Number(event.target.value)))} />`}
    <${Send} disabled=${disabled || value === null || outside} />
  </form>`;
}

/** A number as people type it, with a comma or a point; null for anything else. */
function readNumber(text) {
  const plain = text.trim().replace(/[\s'’]/g, "").replace("−", "-").replace(",", ".");
  return /^[-+]?(\d+\.?\d*|\.\d+)$/.test(plain) ? Number(plain) : null;
}

function written(value) {
  return tNumber(value, { useGrouping: false, maximumFractionDigits: 6 });
}

function step(min, max) {
  return Number.isInteger(min) && Number.isInteger(max) && max - min >= 10 ? 1 : (max - min) / 100;
}

function Text({ question, onAnswer, disabled }) {
  const most = question.kind === "word_cloud" ? WORD_MAX : TEXT_MAX;
  const [text, setText] = useState("");
  const send = (event) => {
    event.preventDefault();
    if (text.trim()) onAnswer(text.trim());
  };
  return html`<form class="stack" onSubmit=${send}>
    <div class="field">
      <label for="text">${t(question.kind === "word_cloud" ? "play.word" : "play.text")}</label>
      <input id="text" class="big-input" maxlength=${most} autocomplete="off" autocapitalize="off" spellcheck=${false} dir="auto" value=${text}
        disabled=${disabled} onInput=${(event) => setText(event.target.value)} />
    </div>
    <${Send} disabled=${disabled || !text.trim()} />
  </form>`;
}

function Order({ question, onAnswer, disabled }) {
  const [order, setOrder] = useState(() => question.choices.map((_, place) => place));
  const [said, setSaid] = useState("");
  const [held, setHeld] = useState(null);
  const list = useRef(null);
  const focus = useRef(null);
  const move = (from, to) => {
    if (to < 0 || to >= order.length || from === to) return;
    const next = [...order];
    next.splice(to, 0, ...next.splice(from, 1));
    setOrder(next);
  };
  const step = (from, by) => {
    move(from, from + by);
    focus.current = [order[from], by];
    setSaid(t("play.moved", { text: question.choices[order[from]].text, place: from + by + 1 }));
  };
  // The button that was pressed goes along with its item, so that it can be pressed again.
  useEffect(() => {
    if (!focus.current) return;
    const [item, by] = focus.current;
    focus.current = null;
    const buttons = list.current.querySelectorAll(`[data-item="${item}"] button`);
    const wanted = buttons[by < 0 ? 0 : 1];
    (wanted.disabled ? buttons[by < 0 ? 1 : 0] : wanted).focus();
  }, [order]);
  const drag = useRef(null);
  drag.current = ({ clientY }) => {
    const over = [...list.current.children].findIndex((line) => {
      const box = line.getBoundingClientRect();
      return clientY < box.top + box.height * 0.5;
    });
    const at = order.indexOf(held);
    move(at, over === -1 ? order.length - 1 : over > at ? over - 1 : over);
  };
  // The page is listened to, and not the item: where that changes its place, a finger's events do not always follow it.
  useEffect(() => {
    if (held === null) return;
    const dragged = (event) => drag.current(event);
    const letGo = () => setHeld(null);
    const events = { pointermove: dragged, pointerup: letGo, pointercancel: letGo };
    for (const [name, act] of Object.entries(events)) addEventListener(name, act);
    return () => {
      for (const [name, act] of Object.entries(events)) removeEventListener(name, act);
    };
  }, [held]);
  const hold = (event, item) => {
    if (!disabled && !event.target.closest("button")) setHeld(item);
  };
  return html`<div class="stack">
    <p class="muted">${t("play.order")}</p>
    <ol class="order" ref=${list}>
      ${order.map(
        (item, place) => html`<li key=${item} data-item=${item} data-held=${held === item} onPointerDown=${(event) => hold(event, item)}>
          <span class="row"><b class="place">${place + 1}</b><${Mark} choice=${item} /></span>
          <span dir="auto">${question.choices[item].text}</span>
          <button type="button" class="button quiet icon" disabled=${disabled || place === 0}
            aria-label=${t("play.up", { text: question.choices[item].text })} onClick=${() => step(place, -1)}>↑</button>
          <button type="button" class="button quiet icon" disabled=${disabled || place === order.length - 1}
            aria-label=${t("play.down", { text: question.choices[item].text })} onClick=${() => step(place, 1)}>↓</button>
        </li>`,
      )}
    </ol>
    <p class="unseen" role="status">${said}</p>
    <${Send} disabled=${disabled} onSend=${() => onAnswer(order)} />
  </div>`;
}

function Send({ disabled, onSend }) {
  return html`<button type=${onSend ? "button" : "submit"} class="button primary big block" disabled=${disabled} onClick=${onSend}>
    ${t("play.send")}
  </button>`;
}

const CONTROLS = {
  single: One,
  multiple: Several,
  true_false: TrueFalse,
  numeric: Numeric,
  text: Text,
  order: Order,
  poll: One,
  word_cloud: Text,
};

/** An answer in words: what somebody chose, as a list of `{text, choice?}`. */
export function spelled(question, answer) {
  if (answer === null || answer === undefined) return [];
  if (typeof answer === "boolean") return [{ text: t(`answer.${answer}`), choice: answer ? 0 : 1 }];
  const choices = question.choices;
  if (choices && question.kind !== "order") {
    return [answer].flat().map((choice) => ({ text: choices[choice]?.text ?? LETTERS[choice], choice }));
  }
  if (choices) return answer.map((choice, place) => ({ text: `${place + 1}. ${choices[choice]?.text}`, choice }));
  return [answer].flat().map((one) => ({ text: typeof one === "number" ? tNumber(one, { maximumFractionDigits: 6 }) : one }));
}
