// What everybody said to a question that has closed: bars where there is something to count, words where it is a cloud.
import { html } from "./html.js";
import { t, tNumber } from "./i18n.js";
import { Mark } from "./marks.js";

const BINS = 8; // of numbers, when there are more different ones
const CLOUD_MAX = 40;

/**
 * How often each answer was given. `question` is the event's data, `closed` that of the event; `mine` the reader's own
 * answer, if there is one; `most` how many written answers are shown, the most frequent first.
 */
export function Distribution({ question, closed, mine = null, most = 10 }) {
  if (question.kind === "word_cloud") return html`<${Cloud} counts=${closed.counts} />`;
  const lines = LINES[question.kind](question, closed, mine, most);
  const all = lines.reduce((sum, line) => sum + line.count, 0);
  const whole = question.kind === "order" ? Math.max(1, total(closed.counts)) : all;
  return html`<ul class="bars">
    ${lines.map(
      (line) => html`<li class="bar" key=${line.text} data-choice=${line.choice} data-right=${line.right} data-share=${line.count ? 1 : 0}
        style=${{ "--share": whole ? line.count / whole : 0 }}>
        ${line.choice !== undefined && html`<${Mark} choice=${line.choice} />`}
        <span class="track"><span dir="auto">${line.text}
          ${line.right && html` <b>✓<span class="unseen"> ${t("answer.right")}</span></b>`}
          ${line.mine && html` <b class="yours">${t("answer.yours")}</b>`}</span></span>
        <b class="number">${tNumber(line.count)}</b>
      </li>`,
    )}
  </ul>`;
}

function ofChoices({ kind, choices }, { correct, counts }, mine) {
  const [right, own] = [kind === "poll" ? [] : [correct].flat(), [mine].flat()];
  return choices.map(({ text }, choice) => ({
    text,
    choice,
    count: counts[choice] ?? 0,
    right: right.includes(choice),
    mine: own.includes(choice),
  }));
}

function ofTruth(_, { correct, counts }, mine) {
  return [true, false].map((value, choice) => ({
    text: t(`answer.${value}`),
    choice,
    count: counts[value] ?? 0,
    right: correct === value,
    mine: mine === value,
  }));
}

/** The items in the right order, and how many had each of them in its place. */
function ofOrder({ choices }, { correct, counts }) {
  const given = Object.entries(counts).map(([key, count]) => [key.split(",").map(Number), count]);
  return correct.map((item, place) => ({
    text: `${tNumber(place + 1)}. ${choices[item].text}`,
    choice: item,
    count: given.reduce((sum, [order, count]) => sum + (order[place] === item ? count : 0), 0),
    right: false,
  }));
}

function ofTexts(_, { correct, counts }, mine, most) {
  const right = correct.map((one) => one.toLowerCase().trim());
  return ranked(counts, most).map(([text, count]) => ({
    text,
    count,
    right: right.includes(text),
    mine: mine?.toLowerCase?.().trim() === text,
  }));
}

function ofNumbers(_, { correct, counts }, mine, most) {
  const given = Object.entries(counts).map(([text, count]) => [Number(text), count]);
  given.sort(([a], [b]) => a - b);
  const bins = Math.min(BINS, most);
  if (given.length <= bins) {
    return given.map(([value, count]) => ({ text: tNumber(value), count, right: value === correct, mine: value === mine }));
  }
  const [low, high] = [given[0][0], given.at(-1)[0]];
  const width = (high - low) / bins;
  return Array.from({ length: bins }, (_, bin) => {
    const [from, to] = [low + bin * width, bin === bins - 1 ? high : low + (bin + 1) * width];
    const within = (value) => value >= from && (bin === bins - 1 ? value <= to : value < to);
    return {
      text: t("answer.from_to", { from: rounded(from, width), to: rounded(to, width) }),
      count: given.reduce((sum, [value, count]) => sum + (within(value) ? count : 0), 0),
      right: within(correct),
      mine: typeof mine === "number" && within(mine),
    };
  });
}

function rounded(value, width) {
  return tNumber(value, { maximumFractionDigits: width >= 10 ? 0 : width >= 1 ? 1 : 3 });
}

function ranked(counts, most) {
  return Object.entries(counts)
    .sort(([, a], [, b]) => b - a)
    .slice(0, most);
}

function total(counts) {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** Words, the more frequent the larger, in an order that stays the same while counts change little. */
function Cloud({ counts }) {
  const words = ranked(counts, CLOUD_MAX);
  const top = words[0]?.[1] ?? 1;
  words.sort(([a], [b]) => a.localeCompare(b));
  if (!words.length) return html`<p class="muted">${t("answer.none")}</p>`;
  return html`<ul class="cloud">
    ${words.map(
      ([word, count], place) => html`<li key=${word} dir="auto" data-choice=${place % 8} style=${{ "--share": count / top }}>
        ${word}<span class="unseen"> ${tNumber(count)}</span>
      </li>`,
    )}
  </ul>`;
}

const LINES = {
  single: ofChoices,
  multiple: ofChoices,
  poll: ofChoices,
  true_false: ofTruth,
  order: ofOrder,
  text: ofTexts,
  numeric: ofNumbers,
};
