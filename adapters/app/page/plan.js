// The plan of a tick: its actions with reasons, what else could have been done, and approve or cancel.

import { get } from "./api.js";
import { at, clock, make, number, usd } from "./dom.js";

const TERMS = ["performance", "utilisation", "cost", "latency", "score"];
const TOP = 8;
const NOT_BEGUN = ["pending", "skipped", "superseded", "cancelled"]; // what a simulation can play
const MOST = 500; // rows of a table
let pinned = ""; // a plan that was chosen by hand; "" = always the newest
let drawn = "";

export function pick(id) { pinned = id; drawn = ""; }

// Events of a plan come in bursts: while one answer is on its way, all that come are one more question.
let asking = null;
let again = false;
export function plans(act) {
  if (asking) { again = true; return asking; }
  asking = ask(act).finally(() => {
    asking = null;
    if (again) { again = false; setTimeout(() => plans(act).catch(() => {}), 250); }
  });
  return asking;
}

async function ask(act) {
  const page = await get("plans", { limit: 8, refused: false });
  const picker = at("plan-pick");
  const options = [["", "newest"], ...page.items.map((p) => [p.id, `${p.id} · ${p.state}`])];
  if (pinned && !page.items.some((p) => p.id === pinned)) options.push([pinned, pinned]);
  const text = JSON.stringify(options);
  if (picker.dataset.said !== text) {
    picker.replaceChildren(...options.map(([value, label]) => make("option", { value, selected: value === pinned }, label)));
    picker.dataset.said = text;
  }
  // What somebody is reading stays, though a newer plan has come.
  const read = !pinned && at("plan").querySelector("details[open]") ? at("plan").dataset.of : "";
  const wanted = pinned || read;
  const plan = wanted ? page.items.find((p) => p.id === wanted) || await get(`plans/${wanted}`) : page.items[0];
  if (!plan) {
    at("plan").replaceChildren(make("p", { class: "empty" }, "No plan yet: nothing was worth doing so far."));
    return;
  }
  const key = JSON.stringify([plan.id, plan.state, plan.actions.map((a) => a.state)]);
  if (key === drawn) return;
  drawn = key;
  draw(plan, act);
}

function draw(plan, act) {
  const head = make("p", {},
    make("span", { class: `badge ${tone(plan.state)}` }, plan.state), " ",
    `${plan.id}, tick ${plan.tick} at ${clock(plan.created_s * 1000)}, by ${plan.by}, mode ${plan.mode}; expected gain ${usd(plan.gain_usd)}`,
    plan.reason ? ` — ${plan.reason}` : "", plan.approved_by ? `; approved by ${plan.approved_by}` : "");
  const buttons = make("div", { class: "buttons" });
  if (plan.state === "recommended") buttons.append(make("button", { type: "button", onclick: () => act("approve", plan) }, "Approve"));
  if (["recommended", "approved", "ongoing"].includes(plan.state)) {
    buttons.append(make("button", { type: "button", class: "danger", onclick: () => act("cancel", plan) }, "Cancel"));
  }
  if (plan.actions.some((action) => NOT_BEGUN.includes(action.state))) {
    buttons.append(make("button", { type: "button", class: "quiet", onclick: () => act("simulate", plan) }, "Simulate"));
  }
  const row = (action) => make("tr", {},
    make("td", {}, action.kind), make("td", {}, action.vm || action.rack || action.host),
    make("td", {}, [action.source, action.vm ? action.host : ""].filter(Boolean).join(" → ")),
    make("td", { class: "why" }, action.reason),
    make("td", {}, make("span", { class: `badge ${tone(action.state)}` }, action.state), action.outcome ? ` ${action.outcome}` : ""));
  const table = (actions, what) => make("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": what }, make("table", {},
    make("caption", {}, what),
    make("thead", {}, make("tr", {}, ...["Action", "What", "From → to", "Why", "State"].map((h) => make("th", { scope: "col" }, h)))),
    make("tbody", {}, ...actions.map(row))));
  const mine = plan.actions.filter((action) => action.state !== "refused");
  const held = make("details", { id: "plan-refused" }, make("summary", {}, `${number(plan.refused)} more, refused by the guard`));
  held.addEventListener("toggle", () => { if (held.open && held.children.length === 1) refusals(plan.id, held, table); });
  const why = make("details", { id: "plan-why" }, make("summary", {}, "What else could have been done, with score terms"));
  why.addEventListener("toggle", () => { if (why.open && why.children.length === 1) explain(plan.id, why); });
  const shown = mine.length ? [table(mine, mine.length === 1 ? "1 action" : `${mine.length} actions`)] : [];
  const open = at("plan").dataset.of === plan.id ? [...at("plan").querySelectorAll("details[open]")].map((d) => d.id) : [];
  at("plan").replaceChildren(head, buttons, ...shown, ...(plan.refused ? [held] : []), why);
  at("plan").dataset.of = plan.id;
  for (const part of [held, why]) part.open = open.includes(part.id);
}

async function refusals(id, box, table) { // thousands at times: read when they are asked for
  const waiting = make("p", { class: "empty" }, "Reading…");
  box.append(waiting);
  try {
    const { actions } = await get(`plans/${id}`);
    const refused = actions.filter((action) => action.state === "refused");
    waiting.replaceWith(table(refused.slice(0, MOST), refused.length > MOST ? `The first ${MOST} of ${number(refused.length)} refused actions` : `${refused.length} refused actions`));
  } catch (error) { waiting.textContent = error.message; }
}

async function explain(id, box) {
  const waiting = make("p", { class: "empty" }, "Reading…");
  box.append(waiting);
  try {
    const { decisions } = await get(`plans/${id}/explanation`);
    const parts = decisions.map((decision, index) => decisionTable(decision, index));
    waiting.replaceWith(...(parts.length ? parts : [make("p", { class: "empty" }, "How it was decided was not kept.")]));
  } catch (error) { waiting.textContent = error.message; }
}

function decisionTable(decision, index) {
  const all = decision.candidates;
  const chosen = all[decision.chosen];
  const rank = (c) => (c === chosen ? 1e9 : c.possible ? (c.probability ?? c.preference) : -1e9);
  const top = [...all].sort((a, b) => rank(b) - rank(a)).slice(0, TOP);
  const odds = chosen.probability != null;
  const largest = Math.max(...top.map((c) => Math.abs(c.score)), 1e-9);
  const rows = top.map((c) => make("tr", {},
    make(c === chosen ? "th" : "td", c === chosen ? { scope: "row" } : {}, c.what),
    ...TERMS.slice(0, -1).map((term) => make("td", { class: "n" }, number(c[term], 4))),
    make("td", { class: "n" }, bar(c.score / largest), number(c.score, 4)),
    ...(odds ? [make("td", { class: "n" }, c.probability == null ? "" : `${number(c.probability * 100, 1)} %`)] : []),
    make("td", { class: "why" }, c.verdict)));
  const why = decision.confidence == null ? "" : ` (${decision.out_of_range.join(", ") || number(decision.confidence, 3)})`;
  const doubt = decision.doubt ? `; HAM ${why ? "in doubt" : "hands over"}: ${decision.doubt}${why}` : "";
  const region = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Decision ${index + 1}` }, make("table", {},
    make("caption", {}, `Decision ${index + 1}: ${chosen.what}, by ${decision.by}${doubt}. Terms in USD; ${all.length - top.length} candidates more.`),
    make("thead", {}, make("tr", {}, ...["Candidate", ...TERMS, ...(odds ? ["HAM"] : []), "Why"].map((h) => make("th", { scope: "col" }, h)))),
    make("tbody", {}, ...rows)));
  return region;
}

function bar(share) {
  const fill = make("span", {});
  fill.style.width = `${Math.max(0, Math.min(1, Math.abs(share))) * 100}%`;
  if (share < 0) fill.style.background = "var(--bad)";
  return make("span", { class: "meter", "aria-hidden": "true" }, fill);
}

export function tone(state) {
  if (["succeeded", "approved", "ongoing"].includes(state)) return "good";
  if (["failed", "abandoned", "compensated"].includes(state)) return "bad";
  if (["recommended", "refused", "pending"].includes(state)) return "warn";
  return "";
}
