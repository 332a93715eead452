// What is right, kind by kind: the part of a question's form that differs. `put({field: value})` changes the question.
import { html, useLayoutEffect, useRef } from "../ui/html.js";
import { t, tNumber } from "../ui/i18n.js";
import { LETTERS, Mark, Tile } from "../ui/marks.js";
import { Field } from "../ui/parts.js";
import { blankChoice, LIMITS, moved, number } from "./draft.js";
import { Grow } from "./parts.js";
import { Handle, useReorder } from "./reorder.js";

const LINES_MIN = 2;

/** `wrong(field)` is what is wrong with a field, as a sentence, or nothing. */
export function Answers({ question, put, wrong }) {
  const Part = { true_false: Truth, numeric: Numeric, text: Accepted, word_cloud: Words }[question.kind] ?? Choices;
  return html`<${Part} question=${question} put=${put} wrong=${wrong} />`;
}

function Choices({ question, put, wrong }) {
  const { kind } = question;
  const right = kind === "single" || kind === "multiple";
  const flip = (place) => {
    const one = kind === "single";
    put({ choices: question.choices.map((line, at) => (at === place ? { ...line, correct: one || !line.correct } : one ? { ...line, correct: false } : line)) });
  };
  return html`<${Lines} lines=${question.choices} most=${LIMITS.choices} least=${LINES_MIN} field="choices" wrong=${wrong} marks=${kind !== "order"}
    onLines=${(choices) => put({ choices })} legend=${t(kind === "order" ? "editor.items" : "editor.choices")} hint=${t(`editor.choices_hint_${kind}`)}
    add=${t(kind === "order" ? "editor.add_item" : "editor.add_choice")} arrows=${kind === "order"}
    aside=${right ? (line, place) => html`<button type="button" class="rightness" aria-pressed=${line.correct} onClick=${() => flip(place)}
      aria-label=${t("editor.is_right", { name: nameOf(line, place) })} title=${t("editor.mark_right")}><span aria-hidden="true">✓</span></button>` : null} />`;
}

function Accepted({ question, put, wrong }) {
  return html`<${Lines} lines=${question.accepted} most=${LIMITS.accepted} least=${1} field="accepted" wrong=${wrong}
    onLines=${(accepted) => put({ accepted })} legend=${t("editor.accepted")} hint=${t("editor.accepted_hint")} add=${t("editor.add_accepted")} />`;
}

function Words() {
  return html`<p class="muted">${t("editor.words_hint")}</p>`;
}

function Truth({ question, put, wrong }) {
  const fault = wrong("truth");
  return html`<fieldset class="field">
    <legend>${t("editor.truth")}</legend>
    <div class="tiles" role="radiogroup" aria-label=${t("editor.truth")}>
      ${[true, false].map(
        (value, place) => html`<${Tile} choice=${place} text=${t(`answer.${value}`)} label=${t(`answer.${value}`)} role="radio" pressed=${question.truth === value}
          dim=${question.truth !== value} verdict=${question.truth === value ? true : null} onPick=${() => put({ truth: value })} />`,
      )}
    </div>
    ${fault && html`<p class="wrong" role="alert">${fault}</p>`}
  </fieldset>`;
}

function Numeric({ question, put, wrong }) {
  const input = (name, label, hint) => html`<${Field} id=${`q-${name}`} label=${label} hint=${hint} wrong=${wrong(name)}>
    <input id=${`q-${name}`} inputmode="decimal" autocomplete="off" value=${question[name]} aria-invalid=${!!wrong(name)}
      aria-describedby=${hint ? `q-${name}-hint` : null} onInput=${({ target }) => put({ [name]: target.value })} />
  <//>`;
  return html`<div class="stack">
    <div class="pair">${input("right", t("editor.right_number"))} ${input("tolerance", t("editor.tolerance"), window(question))}</div>
    <details open=${!!(question.low || question.high)}>
      <summary>${t("editor.limits")}</summary>
      <div class="pair">${input("low", t("editor.low"))} ${input("high", t("editor.high"), t("editor.limits_hint"))}</div>
    </details>
  </div>`;
}

/** From where to where an answer counts as right, as a sentence. */
function window({ right, tolerance }) {
  const [middle, off] = [number(right), number(tolerance) ?? 0];
  if (!Number.isFinite(middle) || !(off >= 0)) return t("editor.tolerance_hint");
  const told = (value) => tNumber(value, { maximumFractionDigits: 6 });
  return off ? t("editor.right_between", { low: told(middle - off), high: told(middle + off) }) : t("editor.right_exactly", { number: told(middle) });
}

/** Lines of text, one below the other: Enter goes on to the next or adds one, Backspace takes an empty one away. */
function Lines({ lines, onLines, most, least, field, wrong, legend, hint, add, marks = false, arrows = false, aside = null }) {
  const move = (from, to) => to >= 0 && to < lines.length && onLines(moved(lines, from, to));
  const { list, held, handle } = useReorder(move);
  const focus = useRef(null);
  useLayoutEffect(() => {
    if (focus.current === null) return;
    const line = list.current.children[focus.current];
    focus.current = null;
    line?.querySelector("textarea").focus();
  });
  const text = (place, value) => onLines(lines.map((line, at) => (at === place ? { ...line, text: value } : line)));
  const more = (place) => {
    focus.current = place;
    onLines([...lines.slice(0, place), blankChoice(), ...lines.slice(place)]);
  };
  const drop = (place) => {
    focus.current = Math.max(0, place - 1);
    onLines(lines.filter((_, at) => at !== place));
  };
  const keyed = (event, place) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const last = place === lines.length - 1;
      if (!last) list.current.children[place + 1].querySelector("textarea").focus();
      else if (lines[place].text.trim() && lines.length < most) more(place + 1);
    } else if (event.key === "Backspace" && !lines[place].text && lines.length > least) {
      event.preventDefault();
      drop(place);
    }
  };
  const pasted = (event, place) => {
    const texts = event.clipboardData.getData("text").split(/\r?\n/).map((one) => one.trim()).filter(Boolean);
    if (texts.length < 2) return;
    event.preventDefault(); // a list from elsewhere: a line each
    const room = lines.slice(0, place);
    const rest = lines.slice(place).filter((line) => line.text.trim());
    onLines([...room, ...texts.map((one) => blankChoice(one)), ...rest].slice(0, most));
  };
  const fault = wrong(field);
  return html`<fieldset class="field lines">
    <legend>${legend}</legend>
    ${hint && html`<p class="hint">${hint}</p>`}
    <ol ref=${list} data-marks=${marks}>
      ${lines.map((line, place) => {
        const bad = wrong(`${field}[${place}]`);
        return html`<li key=${line.key} data-held=${held === place} data-right=${aside && line.correct}>
          ${lines.length > 1 ? html`<${Handle} name=${nameOf(line, place)} ...${handle(place)} />` : html`<span></span>`}
          ${marks ? html`<${Mark} choice=${place} />` : html`<span class="place number">${place + 1}</span>`}
          <span class="line-text">
            <${Grow} line value=${line.text} maxlength=${LIMITS.label} aria-label=${`${legend} ${marks ? LETTERS[place] : place + 1}`} enterkeyhint="next"
              aria-invalid=${!!bad} onText=${(value) => text(place, value)} onKeyDown=${(event) => keyed(event, place)} onPaste=${(event) => pasted(event, place)} />
            ${bad && html`<span class="wrong" role="alert">${bad}</span>`}
          </span>
          ${aside?.(line, place)}
          ${arrows &&
          html`<button type="button" class="button quiet icon" disabled=${place === 0} aria-label=${t("play.up", { text: nameOf(line, place) })} onClick=${() => move(place, place - 1)}>↑</button>
            <button type="button" class="button quiet icon" disabled=${place === lines.length - 1} aria-label=${t("play.down", { text: nameOf(line, place) })} onClick=${() => move(place, place + 1)}>↓</button>`}
          <button type="button" class="button quiet icon" disabled=${lines.length <= least} aria-label=${t("editor.remove", { name: nameOf(line, place) })} onClick=${() => drop(place)}>×</button>
        </li>`;
      })}
    </ol>
    ${fault && html`<p class="wrong" role="alert">${fault}</p>`}
    ${lines.length < most && html`<div><button type="button" class="button quiet" onClick=${() => more(lines.length)}>+ ${add}</button></div>`}
  </fieldset>`;
}

function nameOf({ text }, place) {
  return text.trim() || LETTERS[place] || String(place + 1);
}
