// A quiz as it is being written; pure. A draft question has the fields of all kinds, so that changing the kind loses
// nothing, and numbers as they were typed; `key` tells questions and choices apart while they move. Never changed in place.
import { newKey } from "../quizcast.js";

export const KINDS = ["single", "multiple", "true_false", "numeric", "text", "order", "poll", "word_cloud"];
export const LIMITS = { title: 200, description: 2000, prompt: 1000, label: 300, explanation: 2000, url: 2000, choices: 8, accepted: 50, questions: 500, seconds: 3600, points: 10_000 };
const SECONDS = 20;
const POINTS = 1000;
const CHOICES = 4; // how many lines a new question has; those left blank are not sent

export const isScored = (kind) => kind !== "poll" && kind !== "word_cloud";
export const hasChoices = (kind) => kind === "single" || kind === "multiple" || kind === "poll" || kind === "order";

export function blankChoice(text = "", correct = false) {
  return { key: newKey(), text, correct };
}

/** A new question of a kind. */
export function blank(kind = "single") {
  return {
    key: newKey(), kind, prompt: "", seconds: String(SECONDS), points: String(POINTS), explanation: "", media_url: "",
    choices: Array.from({ length: CHOICES }, () => blankChoice()), truth: null, right: "", tolerance: "", low: "", high: "",
    accepted: [blankChoice()],
  }; // prettier-ignore
}

export function blankQuiz(language) {
  return { title: "", description: "", language, questions: [blank()] };
}

/** The same once more, as another question. */
export function copied(question) {
  const anew = (lines) => lines.map((line) => ({ ...line, key: newKey() }));
  return { ...question, key: newKey(), choices: anew(question.choices), accepted: anew(question.accepted) };
}

/** Whether anything is written in it. */
export function isBegun({ prompt, choices, accepted, right, truth, media_url, explanation }) {
  return [prompt, right, media_url, explanation, ...[...choices, ...accepted].map(({ text }) => text)].some((text) => text.trim()) || truth !== null;
}

/** A list with the item at `from` moved to `to`. */
export function moved(list, from, to) {
  const next = [...list];
  next.splice(to, 0, ...next.splice(from, 1));
  return next;
}

// ── to and from the API ────────────────────────────────────────────────────────────────────────────────────────────

export function fromQuiz({ title, description, language, questions }) {
  return { title, description, language, questions: questions.map(fromQuestion) };
}

function fromQuestion(given) {
  const { kind } = given;
  const question = {
    ...blank(kind),
    prompt: given.prompt,
    seconds: String(given.time_limit_ms / 1000),
    points: String(given.points),
    explanation: given.explanation,
    media_url: given.media_url,
  };
  if (given.choices) question.choices = given.choices.map(({ text, correct }) => blankChoice(text, !!correct));
  if (given.items) question.choices = given.items.map((text) => blankChoice(text));
  if (given.accepted) question.accepted = given.accepted.map((text) => blankChoice(text));
  if (kind === "true_false") question.truth = given.correct;
  if (kind === "numeric") {
    const written = (number) => (number === null || number === undefined ? "" : String(number));
    Object.assign(question, { right: written(given.correct), tolerance: written(given.tolerance || null), low: written(given.min), high: written(given.max) });
  }
  return question;
}

/** A question as the API takes it. Blank lines are left out; what is missing besides is for `faults` to say. */
export function toQuestion(question) {
  const { kind, explanation, media_url } = question;
  const common = { kind, prompt: question.prompt.trim(), time_limit_ms: Math.round(Number(question.seconds) * 1000), explanation, media_url: media_url.trim() };
  if (isScored(kind)) common.points = Number(question.points);
  const texts = written(question.choices).map(({ text }) => text.trim());
  switch (kind) {
    case "single":
    case "multiple":
      return { ...common, choices: written(question.choices).map(({ text, correct }) => ({ text: text.trim(), correct })) };
    case "poll":
      return { ...common, choices: texts.map((text) => ({ text })) };
    case "order":
      return { ...common, items: texts };
    case "true_false":
      return { ...common, correct: question.truth };
    case "numeric":
      return { ...common, correct: number(question.right), tolerance: number(question.tolerance) ?? 0, min: number(question.low), max: number(question.high) };
    case "text":
      return { ...common, accepted: written(question.accepted).map(({ text }) => text.trim()) };
    default:
      return common;
  }
}

function written(lines) {
  return lines.filter(({ text }) => text.trim());
}

/** A number as people type it, with a point or a comma; null for nothing, NaN for what is none. */
export function number(text) {
  const plain = text.trim().replace(/[\s'’_]/g, "").replace("−", "-").replace(",", ".");
  return plain === "" ? null : Number(plain);
}

// ── what is wrong ──────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * What keeps a question from being saved: `[{field, code, missing}]`. `field` names a field of the draft
 * ("prompt", "choices", "choices[2]"), `code` a text "editor.fault_…"; `missing` is what is not written yet.
 */
export function faults(question) {
  const found = [];
  const wrong = (field, code, missing = false) => found.push({ field, code, missing });
  const { kind } = question;
  if (!question.prompt.trim()) wrong("prompt", "prompt", true);
  const seconds = Number(question.seconds);
  if (!(seconds >= 1 && seconds <= LIMITS.seconds)) wrong("seconds", "seconds");
  const points = Number(question.points);
  if (isScored(kind) && !(question.points.trim() && Number.isInteger(points) && points >= 0 && points <= LIMITS.points)) wrong("points", "points");
  if (question.media_url.trim() && !/^(https?:\/\/|\/)/.test(question.media_url.trim())) wrong("media_url", "url");
  if (hasChoices(kind)) {
    const lines = written(question.choices);
    twice(question.choices).forEach((place) => wrong(`choices[${place}]`, "twice"));
    const right = lines.filter(({ correct }) => correct).length;
    if (lines.length < 2) wrong("choices", kind === "order" ? "few_items" : "few_choices", true);
    else if (kind === "single" && right !== 1) wrong("choices", "none_right", true);
    else if (kind === "multiple" && right === 0) wrong("choices", "none_right", true);
  }
  if (kind === "true_false" && question.truth === null) wrong("truth", "no_truth", true);
  if (kind === "text" && written(question.accepted).length === 0) wrong("accepted", "none_accepted", true);
  if (kind === "numeric") numericFaults(question, wrong);
  return found;
}

function numericFaults(question, wrong) {
  const [right, tolerance, low, high] = ["right", "tolerance", "low", "high"].map((name) => {
    const value = number(question[name]);
    if (value !== null && !Number.isFinite(value)) wrong(name, "number");
    return value;
  });
  if (right === null) wrong("right", "no_number", true);
  if (tolerance < 0) wrong("tolerance", "negative");
  if (right !== null && ((low !== null && right < low) || (high !== null && right > high))) wrong("right", "outside");
}

function twice(lines) {
  const seen = new Set();
  return lines.flatMap(({ text }, place) => {
    const plain = text.trim();
    if (!plain || !seen.has(plain)) return seen.add(plain), [];
    return [place];
  });
}

/** A problem's path within a question as sent (`items[1]`), as a field of the draft (`choices[3]`: blank lines count there). */
export function fieldOf(question, path) {
  const [, name, place] = /^(\w*)(?:\[(\d+)\])?/.exec(path);
  if (place === undefined) return { correct: question.kind === "numeric" ? "right" : "truth", items: "choices", min: "low", max: "high", time_limit_ms: "seconds" }[name] ?? (name || "prompt");
  const lines = name === "accepted" ? "accepted" : "choices";
  const sent = written(question[lines])[Number(place)];
  return sent ? `${lines}[${question[lines].indexOf(sent)}]` : lines;
}
