// Quiz files in: what became of each is said with the place in the file (row, line or field) that it is about.
import { html, useEffect, useState } from "../ui/html.js";
import { t } from "../ui/i18n.js";
import { newKey } from "../quizcast.js";
import { Dialog } from "../ui/parts.js";
import { reason } from "./parts.js";
import { api } from "./session.js";

const FILE_MIB = 8; // the server's limit unless it is set otherwise
const TIMEOUT_MS = 60_000;

/** The dialog; `files` were dropped on the page, or are chosen here. `onDone` is called when quizzes have come in. */
export function Import({ files, onClose, onDone }) {
  const [outcomes, set] = useState([]);
  const [busy, work] = useState(false);
  const bring = async (chosen) => {
    work(true);
    for (const file of chosen) {
      const outcome = await imported(file);
      set((all) => [outcome, ...all]);
      if (outcome.quizzes) onDone();
    }
    work(false);
  };
  useEffect(() => void (files.length && bring(files)), []);
  const take = (event) => {
    const chosen = [...event.target.files];
    event.target.value = "";
    bring(chosen);
  };
  return html`<${Dialog} title=${t("host.import_title")} onClose=${onClose}>
    <p class="muted">${t("host.import_text", { n: FILE_MIB })}</p>
    <div class="field">
      <label for="import-files" class="drop-zone">${t("host.import_choose")}</label>
      <input id="import-files" class="unseen" type="file" multiple accept=".json,.csv,.tsv,.txt,text/*,application/json" disabled=${busy} onChange=${take} />
    </div>
    <div aria-live="polite" class="stack">
      ${busy && html`<p class="muted">${t("host.importing")}</p>`}
      ${outcomes.map((one) => html`<${Outcome} key=${one.key} ...${one} />`)}
    </div>
    <div class="row end-row"><button type="button" class="button" onClick=${onClose}>${t("host.close")}</button></div>
  <//>`;
}

function Outcome({ name, quizzes, warnings, problem, errors }) {
  const brought = quizzes?.reduce((sum, quiz) => sum + quiz.question_count, 0);
  const lines = problem ? errors : warnings;
  return html`<div class="note" data-tone=${problem ? "bad" : warnings.length ? null : "good"}>
    <p><b dir="auto">${name}</b>: ${problem ?? t("host.imported", { n: brought, title: quizzes.map(({ title }) => title).join(", ") })}</p>
    ${problem && errors.length > 0 && html`<p>${t("host.import_nothing")}</p>`}
    ${lines.length > 0 &&
    html`${!problem && html`<p>${t("host.import_left_out", { n: lines.length })}</p>`}
      <ul class="places">${lines.map(({ path, message }) => html`<li><b>${path}</b> <span dir="auto">${message}</span></li>`)}</ul>`}
  </div>`;
}

async function imported(file) {
  const key = newKey();
  const { name } = file;
  if (file.size > FILE_MIB * 2 ** 20) return { key, name, problem: t("host.import_too_large", { n: FILE_MIB }), errors: [] };
  try {
    const options = { body: new Blob([await file.arrayBuffer()]), key, timeoutMs: TIMEOUT_MS, tries: 3 };
    return { key, name, ...(await api("POST", `/quizzes/import?name=${encodeURIComponent(name)}`, options)) };
  } catch (error) {
    const problem = error.code === "body_too_large" ? t("host.import_too_large", { n: FILE_MIB }) : reason(error);
    return { key, name, problem, errors: error.errors };
  }
}
