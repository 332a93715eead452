// Charts by Chart.js, which is fetched when the first one is drawn. What they show is told in words to screen readers.
import { html, useEffect, useRef } from "./html.js";

const COLOURS = ["--accent", "--b", "--c", "--e"];

let fetching = null;

async function library() {
  fetching ??= import("../vendor/chart.js");
  await fetching;
  return globalThis.Chart;
}

/** Bars: `labels` below them, `values` as their heights; `unit` stands behind each, `most` is the axis's end. */
export function Chart({ labels, values, unit, most, label }) {
  const canvas = useDrawing((look) => bars(look, { labels, values, unit, most }), [labels.join(), values.join()]);
  return html`<figure class="chart">
    <canvas ref=${canvas} aria-hidden="true"></canvas>
    <div class="unseen"><table><caption>${label}</caption>
      <tbody>${labels.map((name, place) => html`<tr key=${place}><th scope="row">${name}</th><td>${values[place]}${unit}</td></tr>`)}</tbody></table></div>
    <figcaption class="small muted" aria-hidden="true">${label}</figcaption>
  </figure>`;
}

/** Lines over time: `labels` are moments as text, each of `lines` has a `name` and `values` (null: a gap); `told` writes one. */
export function Lines({ labels, lines, told }) {
  const key = `${labels.at(-1)} ${labels.length}`;
  const canvas = useDrawing((look) => curves(look, { labels, lines, told }), [key]);
  return html`<div class="chart"><canvas ref=${canvas} aria-hidden="true"></canvas></div>`;
}

/** A canvas that is drawn anew whenever one of `news` changes, and when the reader's colours do. */
function useDrawing(settings, news) {
  const canvas = useRef(null);
  useEffect(() => {
    let chart = null;
    let gone = false;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const draw = async () => {
      const Library = await library();
      if (gone) return;
      chart?.destroy();
      chart = new Library(canvas.current, settings(looks()));
    };
    draw();
    dark.addEventListener("change", draw);
    return () => {
      gone = true;
      dark.removeEventListener("change", draw);
      chart?.destroy();
    };
  }, news);
  return canvas;
}

function looks() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return { colour, ticks: { color: colour("--muted"), font: { family: style.fontFamily } } };
}

function bars({ colour, ticks }, { labels, values, unit, most }) {
  return {
    type: "bar",
    data: { labels, datasets: [{ data: values, backgroundColor: colour("--accent"), borderRadius: 6, maxBarThickness: 42 }] },
    options: {
      animation: matchMedia("(prefers-reduced-motion: reduce)").matches ? false : { duration: 500 },
      maintainAspectRatio: false,
      plugins: { legend: { display: false }, tooltip: { callbacks: { label: ({ formattedValue }) => `${formattedValue}${unit}` } } },
      scales: {
        x: { ticks, grid: { display: false } },
        y: { beginAtZero: true, max: most, ticks: { ...ticks, precision: 0, maxTicksLimit: 6, callback: (value) => `${value}${unit}` }, grid: { color: colour("--line") } },
      },
    },
  };
}

/** The radius of a point: one that no line leads to would not be seen. */
function lone(value, place, values) {
  return (values[place - 1] ?? values[place + 1] ?? null) === null ? 2 : 0;
}

function curves({ colour, ticks }, { labels, lines, told }) {
  const datasets = lines.map(({ name, values }, place) => {
    const borderColor = colour(COLOURS[place]);
    return { label: name, data: values, borderColor, backgroundColor: borderColor, borderWidth: 2, pointRadius: values.map(lone) };
  });
  return {
    type: "line",
    data: { labels, datasets },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      plugins: {
        legend: { display: lines.length > 1, labels: { color: ticks.color, font: ticks.font, boxWidth: 12, boxHeight: 2 } },
        tooltip: { callbacks: { label: ({ dataset, raw }) => `${dataset.label}: ${told(raw)}` } },
      },
      scales: {
        x: { ticks: { ...ticks, maxTicksLimit: 5, maxRotation: 0 }, grid: { display: false } },
        y: { beginAtZero: true, ticks: { ...ticks, maxTicksLimit: 5, callback: told }, grid: { color: colour("--line") } },
      },
    },
  };
}
