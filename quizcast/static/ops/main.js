// How this machine runs: its figures as of now and its last hour, for those who look after it and have no Grafana.
import { html, render, useEffect, useState } from "../ui/html.js";
import { language, t, tError, tNumber } from "../ui/i18n.js";
import { Lines } from "../ui/chart.js";
import { Brand, Field } from "../ui/parts.js";
import { call } from "../client/api.js";

const KEY = "quizcast.ops"; // the token, until the tab is closed
const GAP = 2.5; // samples further apart than so many intervals are not joined by a line
const FIGURES = ["streams", "answers", "joins", "push_p99", "ack_p99", "queue_age", "dead", "db_share", "redis_memory", "memory_left", "disk", "processes"];
const PLOTS = [["streams"], ["push_p50", "push_p99"], ["answers", "joins"], ["ack_p50", "ack_p99"], ["redis_p99", "db_p99"], ["streams_lost"], ["queue_rows"], ["queue_age"], ["db_connections"], ["memory"], ["cpu"], ["memory_left", "redis_memory"]];
const BYTES = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

const clock = new Intl.DateTimeFormat(language, { timeStyle: "short" });

function App() {
  const [token, setToken] = useState(() => sessionStorage.getItem(KEY) ?? "");
  const [view, setView] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    let timer = 0;
    const ending = new AbortController();
    const look = async () => {
      let wait = 5000;
      try {
        const told = await call("", "GET", "/ops", { token: token || null, signal: ending.signal });
        sessionStorage.setItem(KEY, token);
        setView(told);
        setError(null);
        wait = told.every_ms / 2;
      } catch (problem) {
        if (ending.signal.aborted) return;
        setError(problem);
        if (problem.status === 401) return;
      }
      timer = setTimeout(look, wait);
    };
    look();
    return () => (ending.abort(), clearTimeout(timer));
  }, [token]);
  return html`<header class="topbar"><${Brand} /></header>
    <main class="wide stack">
      <h1>${t("ops.title")}</h1>
      ${error?.status === 401
        ? html`<${Door} wrong=${token && tError(error.code)} enter=${setToken} />`
        : html`${error && html`<p class="note" data-tone="bad" role="alert">${t("ops.away")}</p>`}
            ${view ? html`<${Hour} view=${view} />` : html`<p class="muted" role="status">${t("host.loading")}</p>`}`}
    </main>`;
}

function Door({ wrong, enter }) {
  const [text, setText] = useState("");
  const submit = (event) => {
    event.preventDefault();
    enter(text.trim());
  };
  return html`<form class="card stack narrow" onSubmit=${submit}>
    <${Field} id="token" label=${t("ops.token")} hint=${t("ops.token_hint")} wrong=${wrong}>
      <input id="token" type="password" autocomplete="off" required value=${text} onInput=${(event) => setText(event.target.value)} />
    <//>
    <button class="button" data-tone="accent">${t("ops.enter")}</button>
  </form>`;
}

function Hour({ view }) {
  if (!view.at.length) return html`<p class="note" role="status">${t("ops.nothing_yet")}</p>`;
  const series = Object.fromEntries(view.series.map((one) => [one.name, one]));
  const { labels, spread } = spaced(view);
  return html`<p class="muted">${t("ops.hint", { time: clock.format(view.at.at(-1)) })}</p>
    <section class="figures" aria-label=${t("ops.now")}>
      <${Service} view=${view} series=${series} />
      ${FIGURES.map((name) => html`<${Figure} key=${name} name=${t(`ops.${name}`)} text=${told(series[name].values.at(-1), series[name].unit)} bad=${isBad(series[name])} />`)}
    </section>
    <section class="plots" aria-label=${t("ops.hour")}>
      ${PLOTS.map((names) => html`<${Plot} key=${names[0]} lines=${names.map((name) => series[name])} labels=${labels} spread=${spread} />`)}
    </section>`;
}

/** The share of the hour's requests that were served in time, and whether that is what is promised. */
function Service({ view, series }) {
  const [asked, bad] = ["asked", "bad"].map((name) => series[name].values.reduce((sum, value) => sum + (value ?? 0), 0));
  const share = asked ? 1 - bad / asked : null;
  const text = share === null ? "–" : tNumber(Math.floor(share * 1e5) / 1e5, { style: "percent", maximumFractionDigits: 3 });
  return html`<${Figure} name=${t("ops.service", { ms: view.in_time_ms })} text=${text} bad=${share !== null && share < view.target} />`;
}

function Figure({ name, text, bad }) {
  return html`<div class="card figure" data-tone=${bad ? "bad" : "good"}>
    <span class="small muted">${name}</span>
    <b class="number">${text}</b>
    ${bad && html`<span class="small">${t("ops.bad")}</span>`}
  </div>`;
}

function Plot({ lines, labels, spread }) {
  const most = Math.max(...lines.flatMap((one) => one.values.filter((value) => value !== null)));
  const { unit } = lines[0];
  const write = (value) => told(value, unit);
  return html`<figure class="card plot">
    <figcaption>
      <b>${lines.map((one) => t(`ops.${one.name}`)).join(" · ")}</b>
      <span class="small muted">${Number.isFinite(most) ? t("ops.most", { value: write(most) }) : t("ops.none")}</span>
    </figcaption>
    <${Lines} labels=${labels} lines=${lines.map((one) => ({ name: t(`ops.${one.name}`), values: spread(one.values) }))} told=${write} />
  </figure>`;
}

/** The times as text, with an empty place wherever no samples were taken, and a function that puts values into these places. */
function spaced({ at, every_ms: every }) {
  const places = at.flatMap((moment, place) => (place && moment - at[place - 1] > GAP * every ? [null, place] : [place]));
  return {
    labels: places.map((place) => (place === null ? "" : clock.format(at[place]))),
    spread: (values) => places.map((place) => (place === null ? null : values[place])),
  };
}

function isBad({ values, worry, below }) {
  const value = values.at(-1);
  return worry !== null && value !== null && (below ? value < worry : value > worry);
}

/** A value with its unit, as the language writes it. */
function told(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "share") return tNumber(value, { style: "percent", maximumFractionDigits: 1 });
  if (unit === "ms" || unit === "s") return measured(value, unit === "s" ? "second" : "millisecond");
  if (unit === "/s") return t("ops.per_second", { value: tNumber(value, { maximumSignificantDigits: 3 }) });
  if (unit !== "bytes") return tNumber(value, { maximumSignificantDigits: 4 });
  const size = Math.min(BYTES.length - 1, Math.floor(Math.log(Math.max(1, value)) / Math.log(1000)));
  return measured(value / 1000 ** size, BYTES[size]);
}

function measured(value, unit) {
  return tNumber(value, { style: "unit", unit, maximumSignificantDigits: 3 });
}

render(html`<${App} />`, document.getElementById("app"));
