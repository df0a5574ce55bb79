// Plotly charts in the page's own colours; each with a sentence that says what it shows.

import { at, number, percent, usd } from "./dom.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"], displayModeBar: false };
const drawn = new Map();
const visible = new Set();
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) { visible.delete(entry.target.id); continue; }
    visible.add(entry.target.id);
    const late = drawn.get(entry.target.id);
    if (late?.stale) render(entry.target.id);
  }
}, { rootMargin: "200px" });

let coming = null;
function plotly() { // its megabytes are read once a chart is wanted, so that the cluster is shown before
  coming ??= new Promise((done, fail) => {
    const script = document.createElement("script");
    script.src = "assets/plotly.min.js";
    script.onload = done;
    script.onerror = () => { coming = null; fail(new Error("the charts' library could not be loaded")); };
    document.head.append(script);
  });
  return coming;
}

export function watch(...ids) { for (const id of ids) seen.observe(at(id)); }

function show(id, traces, layout, label) {
  drawn.set(id, { traces, layout, label, stale: true });
  if (visible.has(id)) render(id);
}

function render(id) {
  if (!window.Plotly) { plotly().then(() => render(id)); return; }
  const said = drawn.get(id);
  said.stale = false;
  const axis = { gridcolor: css("--rule"), zerolinecolor: css("--rule"), linecolor: css("--rule"), automargin: true };
  const layout = {
    margin: { l: 8, r: 8, t: 8, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    hovermode: "x unified", hoverlabel: { bgcolor: css("--card"), bordercolor: css("--rule"), font: { color: css("--ink") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, showlegend: true, ...said.layout,
  };
  for (const name of ["xaxis", "yaxis", "yaxis2"]) if (name !== "yaxis2" || said.layout.yaxis2) layout[name] = { ...axis, ...(said.layout[name] || {}) };
  const traces = typeof said.traces === "function" ? said.traces(css) : said.traces;
  const box = at(id);
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", said.label);
  window.Plotly.react(box, traces, layout, CONFIG);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const id of drawn.keys()) render(id);
});

const UNIT = { cpu_mhz: "MHz", memory_mib: "MiB", disk_mib_s: "MiB/s", network_mbit_s: "Mbit/s" };
const BANDS = [["0.025", "0.975", 0.14, "95 %"], ["0.1", "0.9", 0.22, "80 %"], ["0.25", "0.75", 0.34, "50 %"]];

export function fan(forecast) {
  const now = new Date(forecast.time);
  const measured = forecast.measured;
  const from = measured.length ? measured[measured.length - 1][1] : forecast.bands[0]?.mean;
  const times = [now, ...forecast.bands.map((b) => new Date(now.getTime() + b.horizon_s * 1000))];
  const level = (name) => [from, ...forecast.bands.map((b) => b.quantiles[name] ?? b.mean)];
  const traces = (colour) => {
    const band = colour("--band");
    const list = [];
    for (const [low, high, opacity, share] of BANDS) {
      if (!forecast.bands.length) break;
      const common = { x: times, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
      list.push({ ...common, y: level(low), showlegend: false });
      list.push({ ...common, y: level(high), fill: "tonexty", fillcolor: `rgba(${band}, ${opacity})`, name: share }); // short names: a legend that wraps takes room from its chart
    }
    list.push({ x: measured.map((p) => p[0]), y: measured.map((p) => p[1]), mode: "lines", name: "measured", line: { color: colour("--ink"), width: 2 } });
    if (forecast.bands.length) list.push({ x: times, y: level("0.5"), mode: "lines", name: "median", line: { color: colour("--accent"), width: 2, dash: "dot" } });
    if (forecast.capacity) {
      const first = measured.length ? measured[0][0] : times[0];
      list.push({ x: [first, times[times.length - 1]], y: [forecast.capacity, forecast.capacity], mode: "lines", name: "capacity", line: { color: colour("--bad"), width: 1, dash: "dash" }, visible: from > 0.3 * forecast.capacity ? true : "legendonly" });
    }
    return list;
  };
  const hour = forecast.bands.find((b) => b.horizon_s >= 3600) || forecast.bands[forecast.bands.length - 1];
  const what = `${forecast.kind} ${forecast.name}`.trim();
  const text = hour
    ? `${what}: ${number(from)} ${UNIT[forecast.resource]} now; in ${hour.horizon_s / 60} min between ${number(hour.quantiles["0.1"])} and ${number(hour.quantiles["0.9"])} with 80 %.`
    : `${what}: ${number(from)} ${UNIT[forecast.resource]} now; no forecast yet.`;
  at("fan-text").textContent = text;
  show("fan", traces, { yaxis: { rangemode: "tozero", title: { text: UNIT[forecast.resource] } } }, text);
}

export function duel(moments) {
  const times = moments.map((m) => m.time);
  const gain = (by) => moments.map((m) => m.choices.find((c) => c.by === by)?.gain_usd ?? null);
  const ham = gain("ham");
  const rules = gain("rules");
  const decided = moments.filter((m) => m.by);
  const byHam = decided.filter((m) => m.by === "ham").length;
  const agreement = moments.filter((m) => m.choices.length > 1);
  const mean = agreement.reduce((sum, m) => sum + m.agreement, 0) / Math.max(agreement.length, 1);
  const last = moments[moments.length - 1];
  const text = moments.length
    ? `Over ${moments.length} ticks HAM decided ${byHam} of ${decided.length}; the two agree on ${percent(mean)} of actions.${last.why ? ` Now the rules decide: ${last.why}.` : ""}`
    : "No tick yet.";
  at("duel-text").textContent = text;
  show("duel", (colour) => [
    { x: times, y: ham, name: "HAM", mode: "lines", line: { color: colour("--ham"), width: 2 } },
    { x: times, y: rules, name: "rules", mode: "lines", line: { color: colour("--rules"), width: 2, dash: "dot" } },
    { x: times, y: moments.map((m) => m.agreement), name: "agreement", mode: "lines", yaxis: "y2", line: { color: colour("--soft"), width: 1 } },
  ], { yaxis: { title: { text: "expected gain, USD" } }, yaxis2: { overlaying: "y", side: "right", range: [0, 1.02], tickmode: "array", tickvals: [0, 0.5, 1], tickformat: ".0%", showgrid: false } }, text);
}

export function money(moments) {
  const times = moments.map((m) => m.time);
  const last = moments[moments.length - 1];
  let saved = 0;
  const sum = moments.map((m, i) => {
    if (m.usd_h == null) return null;
    const hours = i ? (new Date(m.time) - new Date(moments[i - 1].time)) / 3.6e6 : 0;
    saved += (m.no_action_usd_h - m.usd_h) * hours;
    return saved;
  });
  const text = last
    ? `${number(last.power_w / 1000, 2)} kW now, ${number(last.no_action_power_w / 1000, 2)} kW had nobody acted; ${usd(saved)} ${saved < 0 ? "lost" : "saved"} over what is shown (reckoned, transitions not counted).`
    : "No tick yet.";
  at("money-text").textContent = text;
  show("money", (colour) => [
    { x: times, y: moments.map((m) => m.no_action_power_w), name: "no action", mode: "lines", line: { color: colour("--rules"), width: 1.5, dash: "dot" } },
    { x: times, y: moments.map((m) => m.power_w), name: "as it is", mode: "lines", fill: "tozeroy", fillcolor: colour("--shade"), line: { color: colour("--ham"), width: 2 } },
    { x: times, y: sum, name: "saved so far", mode: "lines", yaxis: "y2", line: { color: colour("--good"), width: 2 } },
  ], { yaxis: { title: { text: "W" }, rangemode: "tozero" }, yaxis2: { overlaying: "y", side: "right", title: { text: "USD" }, tickmode: "auto", nticks: 5, rangemode: "tozero", showgrid: false } }, text);
}

export function timeline(spells, now) {
  at("timeline").hidden = !spells.length; // nothing to draw is said, not drawn
  const kinds = ["freeze", "maintenance", "anomaly of a host", "anomaly of a VM"];
  const lane = (s) => (s.kind === "anomaly" ? (s.of === "host" ? kinds[2] : kinds[3]) : s.kind);
  const open = spells.filter((s) => s.kind === "anomaly" && !s.end).length;
  const coming = spells.filter((s) => s.kind !== "anomaly" && new Date(s.start) > now).length;
  const text = `${open} anomalies now, ${coming} maintenance windows to come; ${spells.length} shown.`;
  at("timeline-text").textContent = text;
  show("timeline", (colour) => {
    const tint = { [kinds[0]]: colour("--soft"), [kinds[1]]: colour("--warn"), [kinds[2]]: colour("--bad"), [kinds[3]]: colour("--accent") };
    return kinds.map((kind) => {
      const mine = spells.filter((s) => lane(s) === kind);
      const x = [];
      const y = [];
      const said = [];
      for (const s of mine) {
        const end = s.end || now.toISOString();
        x.push(s.start, end, null);
        y.push(kind, kind, null);
        const words = `${s.name}: ${s.label}`;
        said.push(words, words, "");
      }
      return { x, y, text: said, name: kind, mode: "lines+markers", hovertemplate: "%{text}<br>%{x}<extra></extra>", line: { color: tint[kind], width: 10 }, marker: { size: 10, symbol: "line-ns-open", color: tint[kind] }, opacity: 0.75, showlegend: false };
    }).concat([{ x: [now.toISOString(), now.toISOString()], y: [kinds[0], kinds[3]], mode: "lines", line: { color: colour("--ink"), width: 1, dash: "dot" }, name: "now", hoverinfo: "skip" }]);
  }, { hovermode: "closest", yaxis: { categoryorder: "array", categoryarray: [...kinds].reverse(), type: "category" }, xaxis: { type: "date" } }, text);
}
