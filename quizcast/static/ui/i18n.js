// What the pages say, in the reader's language. One flat JSON file a language; English stands in for what is missing.

const root = document.documentElement;
const available = (root.dataset.languages || "en").split(" ");

/** The language in use, as a BCP 47 tag: the first that the browser asks for and that there is a file for. */
export const language = choose(navigator.languages || [navigator.language], available);

const [english, own] = await Promise.all([load("en"), language === "en" ? {} : load(language)]);
const texts = { ...english, ...own };
const plural = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);

root.lang = language;

/**
 * A text by its key. `{name}` stands for a value; numbers are written as the language does. Where the text has forms
 * ({"one": …, "other": …}), `values.n` decides.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  let text = texts[key];
  if (text === undefined) {
    console.error(`no text for ${key}`);
    return key;
  }
  if (typeof text === "object") text = text[plural.select(Number(values.n))] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? numbers.format(value) : String(value ?? "");
  });
}

/** The text for an error's code, or for any error when the code has none. */
export function tError(code) {
  return texts[`error.${code}`] ? t(`error.${code}`) : t("error.unknown");
}

/** A list that belongs to a language: names of animals, say. */
export function tList(key) {
  return texts[key];
}

/** A number as the language writes it. */
export function tNumber(value, options) {
  return options ? new Intl.NumberFormat(language, options).format(value) : numbers.format(value);
}

/** A moment (ms since the epoch) as the language writes it. */
export function tTime(ms) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(ms);
}

function choose(wanted, there) {
  for (const tag of wanted) {
    const exact = there.find((one) => one.toLowerCase() === tag.toLowerCase());
    const near = exact ?? there.find((one) => one === tag.toLowerCase().split("-")[0]);
    if (near) return near;
  }
  return "en";
}

async function load(tag) {
  const reply = await fetch(new URL(`../i18n/${tag}.json`, import.meta.url));
  return reply.ok ? reply.json() : {};
}
