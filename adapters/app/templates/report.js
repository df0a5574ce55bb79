"use strict";
(() => {
  const cases = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  // Contrast of at least 3:1 with the paper of their scheme; after eight agents the same hues come dashed.
  const HUES = {
    light: ["#0067c0", "#c2410c", "#0b7a5a", "#8b3fb8", "#8a6500", "#b3006b", "#007085", "#7a3b12"],
    dark: ["#5aa9ff", "#ff8a4c", "#3fc79a", "#c58af5", "#d9b43a", "#ff7ac0", "#3cc6dd", "#d8a07a"],
  };
  const NEUTRAL = { light: "#6a7580", dark: "#98a4b0" }; // the reference
  let printing = false;
  const scheme = () => (dark.matches && !printing ? "dark" : "light");
  // Plotly reads names as a kind of HTML.
  const plain = (s) => String(s).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "%&#123;");
  const short = (s, n) => plain(s.length > n ? s.slice(0, n - 1) + "…" : s);

  function look(data, agent) {
    if (agent === data.reference && data.agents.length > 1) return { color: NEUTRAL[scheme()], dash: "solid", symbol: "diamond" };
    const i = data.agents.filter((a) => a !== data.reference || data.agents.length === 1).indexOf(agent);
    const symbols = ["circle", "square", "triangle-up", "cross"];
    return { color: HUES[scheme()][i % 8], dash: ["solid", "dash", "dot", "dashdot"][Math.floor(i / 8) % 4], symbol: symbols[i % 4] };
  }

  function layout(extra) {
    const css = getComputedStyle(document.documentElement);
    const v = (name) => css.getPropertyValue(name).trim();
    const axis = (more) => ({
      gridcolor: v("--grid"), linecolor: v("--rule"), zerolinecolor: v("--rule"), tickcolor: v("--rule"),
      automargin: true, fixedrange: coarse, ...more,
    });
    return {
      paper_bgcolor: v("--paper"), plot_bgcolor: v("--paper"),
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: v("--ink") },
      margin: { l: 8, r: 12, t: 12, b: 8 }, showlegend: false, dragmode: coarse ? false : "zoom",
      hoverlabel: { bgcolor: v("--panel"), bordercolor: v("--rule"), font: { color: v("--ink") }, namelength: 32 },
      ...extra,
      xaxis: axis(extra.xaxis), yaxis: axis(extra.yaxis),
    };
  }
  const config = { displayModeBar: false, responsive: true, doubleClick: "reset" };

  // ---- cost by term -------------------------------------------------------------------------------------------
  function terms(data) {
    const names = Object.keys(data.terms);
    if (!names.length) return null;
    const cost = (agent) => names.reduce((sum, t) => sum + data.terms[t][agent], 0);
    const agents = [...data.agents].sort((a, b) => cost(b) - cost(a)); // the cheapest on top
    const keys = agents.map((a) => String(data.agents.indexOf(a)));
    const traces = names.map((term, i) => ({
      type: "bar", orientation: "h", name: plain(term), y: keys, x: agents.map((a) => data.terms[term][a]),
      marker: { color: HUES[scheme()][i % 8], line: { width: 1, color: getComputedStyle(document.documentElement).getPropertyValue("--paper").trim() } },
      text: agents.map(plain), textposition: "none",
      hovertemplate: "%{text}: " + plain(term) + " %{x:,.2f} USD<extra></extra>",
    }));
    const extra = {
      barmode: "relative", bargap: 0.35, showlegend: true, hovermode: "closest",
      height: Math.max(200, 130 + 30 * agents.length),
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, xanchor: "left", traceorder: "normal" },
      xaxis: { title: { text: "USD" }, tickformat: "~s" },
      yaxis: { type: "category", tickvals: keys, ticktext: agents.map((a) => short(a, 22)), showgrid: false, fixedrange: true },
    };
    return [traces, extra];
  }

  // ---- energy against unmet demand ----------------------------------------------------------------------------
  const mean = (values) => {
    const known = values.filter((v) => v !== null);
    return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
  };
  function front(data) {
    const at = data.agents.map((agent) => ({ agent, x: mean(data.points[agent].unmet), y: mean(data.points[agent].energy) }))
      .filter((p) => p.x !== null && p.y !== null);
    if (!at.length) return null;
    const best = at.filter((p) => !at.some((q) => q.x <= p.x && q.y <= p.y && (q.x < p.x || q.y < p.y)))
      .sort((a, b) => a.x - b.x || a.y - b.y);
    const traces = [];
    for (const { agent } of at) {
      const points = data.points[agent];
      if (points.n < 2) continue;
      traces.push({ type: "scatter", mode: "markers", x: points.unmet, y: points.energy, text: points.seeds.map((s) => plain(agent) + ", seed " + s),
        marker: { size: 5, opacity: 0.55, color: look(data, agent).color, symbol: look(data, agent).symbol },
        hovertemplate: "%{text}<br>%{x:.3~f} % unmet, %{y:,.1f} kWh<extra></extra>" });
    }
    traces.push({ type: "scatter", mode: "lines", x: best.map((p) => p.x), y: best.map((p) => p.y), hoverinfo: "skip",
      line: { dash: "dot", width: 1.5, color: NEUTRAL[scheme()] } });
    const xs = padded(data.agents.flatMap((a) => data.points[a].unmet), 0.14);
    const ys = padded(data.agents.flatMap((a) => data.points[a].energy), 0.1);
    const height = Math.max(340, 110 + 30 * data.agents.length);
    const labelled = placed(at, xs, ys, height);
    for (const p of at) {
      const style = look(data, p.agent);
      traces.push({ type: "scatter", mode: "markers+text", x: [p.x], y: [p.y], text: [labelled.has(p) ? short(p.agent, 18) : ""],
        textposition: labelled.get(p) || "top center", textfont: { color: style.color }, cliponaxis: false,
        marker: { size: 12, color: style.color, symbol: style.symbol }, customdata: [plain(p.agent)],
        hovertemplate: "<b>%{customdata}</b><br>%{x:.3~f} % unmet, %{y:,.1f} kWh<extra></extra>" });
    }
    return [traces, { height, hovermode: "closest",
      xaxis: { title: { text: "CPU demand unmet (%)" }, range: xs },
      yaxis: { title: { text: "Energy of the hosts (kWh)" }, tickformat: ",", range: ys } }];
  }
  function padded(values, share) {
    const known = values.filter((v) => v !== null);
    const low = Math.min(...known), high = Math.max(...known);
    const room = (high - low || Math.abs(high) || 1) * share;
    return [low >= 0 && low < 2 * (high - low) ? -room / 3 : low - room, high + room];
  }
  // Each label on the first side of its mark where it lies on nothing; none where no side is free: hovering tells.
  function placed(at, [left, right], [low, high], height) {
    const WIDE = 420, TALL = height - 90; // px, about what the axes leave
    const spots = at.map((p) => ({ x: WIDE * (p.x - left) / (right - left), y: TALL * (p.y - low) / (high - low) }));
    const taken = spots.map((s) => ({ ...s, half: 7 }));
    const found = new Map();
    at.forEach((p, i) => {
      const half = 3.4 * Math.min(p.agent.length, 18);
      const sides = { "top center": [0, 15], "bottom center": [0, -15], "middle right": [half + 9, 0], "middle left": [-half - 9, 0] };
      for (const [where, [dx, dy]] of Object.entries(sides)) {
        const spot = { x: spots[i].x + dx, y: spots[i].y + dy, half };
        if (spot.x - half < 0 || spot.x + half > WIDE) continue;
        if (taken.some((t) => Math.abs(t.x - spot.x) < t.half + half && Math.abs(t.y - spot.y) < 13)) continue;
        taken.push(spot);
        found.set(p, where);
        break;
      }
    });
    return found;
  }

  // ---- over time ----------------------------------------------------------------------------------------------
  const TIMES = {
    power: { key: "power_kw", unit: "kW", format: ",.2f" },
    load: { key: "capacity_ghz", unit: "GHz", format: ",.0f", behind: "demand_ghz", before: "expected_ghz" },
    unmet: { key: "unmet_percent", unit: "%", format: ".2f" },
    hosts: { key: "hosts_on", unit: "hosts", format: ".1f", shape: "hvh" },
    migrations: { key: "migrations_per_h", unit: "migrations / h", format: ",.1f", shape: "hvh" },
    cost: { key: "cost_usd", unit: "USD", format: ",.2f" },
  };
  // One seed's line, or the mean of all that share the first one's times.
  function line(data, agent, seed, key) {
    const runs = Object.entries(data.lines[agent]).filter(([s, run]) => key in run && (seed === "" || s === seed)).map(([, run]) => run);
    if (!runs.length) return null;
    const alike = runs.filter((run) => run.time === runs[0].time);
    const at = (i) => alike.map((run) => run[key][i]).filter((value) => value !== null);
    const y = alike.length === 1 ? runs[0][key] : runs[0][key].map((_, i) => (at(i).length ? mean(at(i)) : null));
    const x = data.times[runs[0].time].map((t) => (data.start_ms === null ? t / 3600 : data.start_ms + 1000 * t));
    return { x, y };
  }
  function overTime(data, state, spec) {
    if (!data.agents.some((agent) => Object.values(data.lines[agent]).some((run) => spec.key in run))) return null;
    const traces = [];
    if (spec.behind) {
      const first = (key) => [data.reference, ...data.agents].map((a) => line(data, a, state.seed, key)).find(Boolean);
      const demand = first(spec.behind);
      const expected = first(spec.before);
      const css = getComputedStyle(document.documentElement);
      if (demand) traces.push({ type: "scatter", mode: "lines", name: "wanted", ...demand, fill: "tozeroy", fillcolor: css.getPropertyValue("--shade").trim(),
        line: { width: 0 }, hovertemplate: "%{y:" + spec.format + "} " + spec.unit });
      if (expected) traces.push({ type: "scatter", mode: "lines", name: "expected an hour before", ...expected,
        line: { color: css.getPropertyValue("--soft").trim(), dash: "dot", width: 1.2 }, hovertemplate: "%{y:" + spec.format + "} " + spec.unit });
    }
    for (const agent of data.agents) {
      if (!state.drawn.has(agent)) continue;
      const values = line(data, agent, state.seed, spec.key);
      if (!values) continue;
      const { color, dash } = look(data, agent);
      traces.push({ type: "scatter", mode: "lines", name: short(agent, 30), ...values,
        line: { color, dash, width: 1.8, shape: spec.shape || "linear" }, hovertemplate: "%{y:" + spec.format + "} " + spec.unit });
    }
    const xaxis = data.start_ms === null ? { title: { text: "hours since the start" }, hoverformat: ".2f" } : { type: "date", hoverformat: "%a %d %b %H:%M" };
    if (state.range) Object.assign(xaxis, { range: [...state.range], autorange: false });
    // Fixed margins: the six time axes stand under each other, and a click does not lay the plot out twice.
    return [traces, { hovermode: "x unified", hoverdistance: 40, margin: { l: 58, r: 12, t: 12, b: 42 },
      xaxis: { ...xaxis, showgrid: false, nticks: innerWidth < 480 ? 4 : 6, automargin: false },
      yaxis: { title: { text: spec.unit }, automargin: false, rangemode: "tozero", tickformat: "~f", separatethousands: true } }];
  }

  // ---- the page -----------------------------------------------------------------------------------------------
  // Only what is on the screen is painted; the rest waits until it is scrolled to, so that a click answers at once.
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      target.near = isIntersecting;
      if (isIntersecting && target.stale) target.paint();
    }
  }, { rootMargin: "150px" });
  const redrawn = [];
  const drawAll = () => redrawn.forEach((redraw) => redraw(true));

  document.querySelectorAll("section.case[data-case]").forEach((section) => {
    const data = cases[Number(section.dataset.case)];
    let queued = 0;
    const state = { drawn: new Set(data.drawn), seed: "", range: null };
    const plots = [...section.querySelectorAll(".plot")];
    const timed = plots.filter((plot) => plot.dataset.chart in TIMES);
    const marks = [...section.querySelectorAll(".agents input")];

    function paint(plot) {
      const kind = plot.dataset.chart;
      const made = kind === "terms" ? terms(data) : kind === "front" ? front(data) : overTime(data, state, TIMES[kind]);
      plot.stale = false;
      if (!made) {
        plot.textContent = "Not recorded in these runs.";
        plot.classList.add("absent");
        return;
      }
      const first = !plot.classList.contains("js-plotly-plot");
      Plotly.react(plot, made[0], layout(made[1]), config);
      if (first && plot.dataset.chart in TIMES) plot.on("plotly_relayout", (change) => follow(plot, change));
    }
    // A zoom in one plot of time is a zoom in all of them.
    function follow(source, change) {
      let range;
      if ("xaxis.range[0]" in change) range = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      else if (change["xaxis.range"]) range = change["xaxis.range"];
      else if (change["xaxis.autorange"]) range = null;
      else return;
      if (JSON.stringify(range) === JSON.stringify(state.range)) return;
      state.range = range;
      repaint(timed.filter((plot) => plot !== source));
    }
    function repaint(some) {
      some.forEach((plot) => { plot.stale = true; });
      if (printing) some.forEach(paint);
      else if (!queued) queued = requestAnimationFrame(paintNext);
    }
    // One plot a frame: the box that was ticked shows it at once, and quick clicks are painted together.
    function paintNext() {
      const next = plots.find((plot) => plot.near && plot.stale);
      if (next) paint(next);
      queued = next ? requestAnimationFrame(paintNext) : 0;
    }
    function redraw(everything) {
      section.querySelectorAll(".agents label").forEach((label, i) => {
        const { color, dash } = look(data, data.agents[i]);
        label.querySelector(".line").style.borderTop = "3px " + (dash === "solid" ? "solid" : dash === "dash" ? "dashed" : "dotted") + " " + color;
      });
      repaint(everything ? plots : timed);
    }
    redrawn.push(redraw);

    marks.forEach((mark) => {
      const agent = data.agents[Number(mark.value)];
      mark.checked = state.drawn.has(agent);
      mark.addEventListener("change", () => {
        if (mark.checked) state.drawn.add(agent); else state.drawn.delete(agent);
        redraw(false);
      });
    });
    section.querySelectorAll("[data-pick]").forEach((button) => button.addEventListener("click", () => {
      const all = button.dataset.pick === "all";
      state.drawn = new Set(all ? data.agents : []);
      marks.forEach((mark) => { mark.checked = all; });
      redraw(false);
    }));
    const seed = section.querySelector(".seed select");
    if (seed) seed.addEventListener("change", () => { state.seed = seed.value; redraw(false); });

    const reference = section.querySelector("[data-reference]");
    if (reference) {
      const bodies = section.querySelectorAll("[data-differences] tbody");
      const choose = () => bodies.forEach((body, i) => { body.hidden = i !== Number(reference.value); });
      reference.addEventListener("change", choose);
      choose(); // a browser may restore the choice of an earlier visit
    }
    section.querySelectorAll("table.sortable").forEach(sortable);
    redraw(true);
    plots.forEach((plot) => {
      plot.paint = () => paint(plot);
      seen.observe(plot);
    });
  });

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value;
      const order = (a, b) => {
        if (column === 0) return value(a).localeCompare(value(b), undefined, { numeric: true });
        const [x, y] = [Number(value(a)), Number(value(b))];
        return Number.isNaN(x) - Number.isNaN(y) || x - y || 0;
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? -order(a, b) : order(a, b)));
      table.tBodies[0].append(...rows);
    }));
  }

  dark.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => {
    printing = true;
    drawAll();
  });
  addEventListener("afterprint", () => { printing = false; drawAll(); });
})();
