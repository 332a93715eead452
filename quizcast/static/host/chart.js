// A bar chart by Chart.js, which is fetched when the first chart is drawn; its numbers are a table for screen readers.
import { html, useEffect, useRef } from "../ui/html.js";

let fetching = null;

async function library() {
  fetching ??= import("../vendor/chart.js");
  await fetching;
  return globalThis.Chart;
}

/** `labels` below the bars, `values` as their heights; `unit` stands behind each, `most` is the axis's end. */
export function Chart({ labels, values, unit, most, label }) {
  const canvas = useRef(null);
  useEffect(() => {
    let chart = null;
    let gone = false;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const draw = async () => {
      const Library = await library();
      if (gone) return;
      chart?.destroy();
      chart = new Library(canvas.current, settings({ labels, values, unit, most }));
    };
    draw();
    dark.addEventListener("change", draw);
    return () => {
      gone = true;
      dark.removeEventListener("change", draw);
      chart?.destroy();
    };
  }, [labels.join(), values.join()]);
  return html`<figure class="chart">
    <canvas ref=${canvas} aria-hidden="true"></canvas>
    <div class="unseen"><table><caption>${label}</caption>
      <tbody>${labels.map((name, place) => html`<tr key=${place}><th scope="row">${name}</th><td>${values[place]}${unit}</td></tr>`)}</tbody></table></div>
    <figcaption class="small muted" aria-hidden="true">${label}</figcaption>
  </figure>`;
}

function settings({ labels, values, unit, most }) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const ticks = { color: colour("--muted"), font: { family: style.fontFamily } };
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
