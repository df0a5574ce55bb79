// The page: signs in, reads once, then follows the stream.

import { Refused, get, listen, send, token } from "./api.js";
import { duel, fan, money, timeline, watch } from "./charts.js";
import { at, clock, make, number, percent, span, usd } from "./dom.js";
import { choose, heat, repaint } from "./heat.js";
import { pick, plans } from "./plan.js";
import { forward, shadows, vms } from "./vms.js";

const KEPT = 288;
const RANK = { viewer: 1, operator: 2, admin: 3 };
let who = null;
let moments = [];
let status = null;

const say = (text, bad = false) => { at("live").textContent = text; at("live").classList.toggle("bad", bad); };
const trouble = (error) => { if (error instanceof Refused && error.status === 401) door(error.message); else say(error.message, true); };

function door(why = "") {
  token.drop();
  at("board").hidden = true;
  at("acts").hidden = true;
  at("door").hidden = false;
  at("door-error").textContent = why;
  at("token").focus();
}

async function open() {
  who = await get("whoami");
  at("door").hidden = true;
  at("board").hidden = false;
  at("acts").hidden = false;
  at("pause").disabled = RANK[who.role] < RANK.operator;
  at("mode").disabled = RANK[who.role] < RANK.admin;
  watch("fan", "duel", "money", "timeline");
  await Promise.all([fresh(), get("history", { ticks: KEPT }).then((page) => { moments = page.items; })]);
  header();
  tiles();
  performance.mark("foreshade-interactive");
  listen(onEvent, onState);
  for (const work of [newPlans, charts, refreshFan, refreshTimeline, refreshTables]) later(work);
}

let reading = null;
let changed = false;
function fresh() { // a burst of events is read once, and once more where something came in between
  changed = true;
  reading ??= (async () => { while (changed) { changed = false; await read(); } })().finally(() => { reading = null; });
  return reading;
}

async function read() {
  const [map, now] = await Promise.all([get("heatmap"), get("status")]);
  heat(map, onHost);
  status = now;
  header();
  tiles();
}

const newPlans = () => plans(act);

const soon = new Set();
function later(work) { // charts and tables wait until the map is painted, and are drawn once however often they are asked for
  if (soon.has(work)) return;
  soon.add(work);
  requestIdleCallback(() => { soon.delete(work); Promise.resolve(work()).catch(trouble); }, { timeout: 1000 });
}

async function onEvent(event) {
  const began = performance.now();
  try {
    if (event.kind === "tick") {
      moments.push(event.data.moment);
      if (moments.length > KEPT) moments.shift();
      header(); // what the event itself says is shown at once
      tiles();
      await fresh();
      later(newPlans);
      later(charts);
      later(refreshFan);
      later(refreshTables);
      later(refreshTimeline);
    } else if (event.kind === "plan") {
      later(newPlans);
    } else {
      await fresh();
      if (event.kind === "anomaly" || event.kind === "maintenance") later(refreshTimeline);
    }
    performance.measure("foreshade-update", { start: began, detail: { kind: event.kind, time: event.time } }); // what the benchmark reads
  } catch (error) { trouble(error); }
}

function onState(state) {
  if (state === "denied") door("The token is not taken any more.");
  else say(state === "live" ? "Live." : "The controller does not answer; trying again.", state !== "live");
}

const charts = () => { duel(moments); money(moments); };
const refreshTables = () => Promise.all([vms(), shadows()]);
const refreshTimeline = async () => { const page = await get("timeline"); timeline(page.items, new Date(status?.time_s ? status.time_s * 1000 : Date.now())); };

function header() {
  const last = moments[moments.length - 1];
  at("cluster").textContent = status.cluster;
  document.title = `${status.cluster} · Foreshade`;
  at("facts").textContent = last ? `tick ${number(last.tick)} · ${clock(last.time)}` : "no tick yet";
  const mode = at("mode-badge");
  mode.textContent = status.paused ? `paused by ${status.paused_by || "?"}` : status.mode;
  mode.className = `badge ${status.paused ? "bad" : status.mode === "auto" ? "good" : "warn"}`;
  const leader = at("leader-badge");
  leader.textContent = status.running ? `leader, epoch ${status.epoch}` : "no leader";
  leader.className = `badge ${status.running ? "" : "bad"}`;
  if (document.activeElement !== at("mode")) at("mode").value = status.mode;
  at("pause").textContent = status.paused ? "Resume" : "Pause";
}

function tiles() {
  const last = moments[moments.length - 1];
  const total = Object.values(status.hosts).reduce((a, b) => a + b, 0);
  const guests = Object.values(status.vms).reduce((a, b) => a + b, 0);
  const states = (by) => Object.entries(by).map(([k, v]) => `${number(v)} ${k.replace("_", " ")}`).join(", ");
  const saving = last ? last.no_action_usd_h - last.usd_h : null;
  const list = [
    ["Hosts on", `${number(status.hosts.on || 0)} of ${number(total)}`, states(status.hosts)],
    ["VMs", number(guests), states(status.vms)],
    ["CPU wanted", last ? percent(last.cpu_demand_mhz / Math.max(last.cpu_capacity_mhz, 1)) : "–", "of what hosts that are on have"],
    ["Power", last ? `${number(last.power_w / 1000, 2)} kW` : "–", last ? `${number(last.no_action_power_w / 1000, 2)} kW without acting` : ""],
    ["Cost", last ? `${usd(last.usd_h)}/h` : "–", saving == null ? "" : `${usd(Math.abs(saving))}/h ${saving < 0 ? "more" : "less"} than without acting`],
    ["Decides", status.decided_by || "–", status.why_rules || (status.agreement == null ? "" : `agrees with the other on ${percent(status.agreement)}`)],
    ["Oldest sample", status.oldest_sample_s == null ? "–" : span(status.oldest_sample_s), status.idle ? `idle: ${status.idle}` : `tick took ${number(Object.values(status.tick_seconds).reduce((a, b) => a + b, 0), 2)} s`],
    ["Anomalies", last ? number(last.anomalies) : "–", "hosts and VMs, now"],
  ];
  at("tiles").replaceChildren(...list.map(([name, value, note]) => make("div", {}, make("dt", {}, name), make("dd", {}, make("strong", {}, value), make("span", {}, note)))));
  at("troubles").replaceChildren(...status.troubles.map((line) => make("li", {}, line)));
}

async function refreshFan() {
  const kind = at("fan-kind").value;
  const name = at("fan-name").value.trim();
  if (kind !== "cluster" && !name) return;
  fan(await get("forecasts", { kind, name: kind === "cluster" ? "" : name, resource: at("fan-resource").value }));
}

async function suggest() {
  const kind = at("fan-kind").value;
  const list = { rack: "racks", host: "hosts", application: "applications", vm: "vms" }[kind];
  at("fan-name").disabled = kind === "cluster";
  if (!list) { at("fan-names").replaceChildren(); return; }
  const page = await get(list, { limit: 200, name: kind === "rack" ? "" : at("fan-name").value.trim() });
  at("fan-names").replaceChildren(...page.items.map((item) => make("option", { value: item.name })));
  if (!at("fan-name").value && page.items.length) at("fan-name").value = page.items[0].name;
}

async function onHost(name) {
  at("fan-kind").value = "host";
  at("fan-name").disabled = false;
  at("fan-name").value = name;
  at("vm-host").value = name;
  say(`${name}: its VMs and its forecast are below.`);
  try { await Promise.all([refreshFan(), vms(true)]); } catch (error) { trouble(error); }
}

function ask(title, text, yes, danger = false) {
  const dialog = at("ask");
  at("ask-title").textContent = title;
  at("ask-text").textContent = text;
  at("ask-yes").textContent = yes;
  at("ask-yes").className = danger ? "danger" : "";
  at("ask-reason").value = "";
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes" ? at("ask-reason").value.trim() : null), { once: true });
  });
}

async function act(verb, plan) {
  try {
    if (verb === "simulate") {
      say(`Simulating ${plan.id} …`);
      const found = await send("POST", `plans/${plan.id}/simulate`);
      say(`${plan.id} over ${found.ticks} ticks: ${usd(Math.abs(found.saved_usd))} ${found.saved_usd < 0 ? "lost" : "saved"}, ${number(found.energy_kwh, 1)} kWh instead of ${number(found.energy_kwh_without, 1)}, unmet ${percent(found.unmet_demand, 3)} instead of ${percent(found.unmet_demand_without, 3)}.`);
      return;
    }
    const cancel = verb === "cancel";
    const reason = await ask(`${cancel ? "Cancel" : "Approve"} ${plan.id}?`, `${plan.actions.length} actions. ${cancel ? "What is under way is seen to its end." : "They are checked again and begun within a second or so."}`, cancel ? "Cancel the plan" : "Approve", cancel);
    if (reason === null) return;
    const done = await send("POST", `plans/${plan.id}/${verb}`, { reason });
    say(done.what);
    await plans(act);
  } catch (error) { trouble(error); }
}

at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(at("token").value.trim());
  at("token").value = "";
  open().catch((error) => door(error.message));
});
at("leave").addEventListener("click", () => { token.drop(); location.reload(); });
at("heat-by").addEventListener("change", repaint);
at("plan-pick").addEventListener("change", (event) => { pick(event.target.value); plans(act).catch(trouble); });
at("fan-kind").addEventListener("change", () => { at("fan-name").value = ""; suggest().then(refreshFan).catch(trouble); });
at("fan-name").addEventListener("input", () => suggest().catch(trouble));
at("fan-resource").addEventListener("change", () => refreshFan().catch(trouble));
at("fan-form").addEventListener("submit", (event) => { event.preventDefault(); refreshFan().catch(trouble); });
at("vm-form").addEventListener("submit", (event) => {
  event.preventDefault();
  choose(at("vm-host").value.trim());
  vms(true).catch(trouble);
});
at("vm-first").addEventListener("click", () => vms(true).catch(trouble));
at("vm-next").addEventListener("click", () => forward()?.catch(trouble));
at("pause").addEventListener("click", async () => {
  const resume = status.paused;
  const reason = await ask(resume ? "Resume?" : "Pause?", resume ? "The controller goes on with its next tick." : "Nothing is begun until somebody resumes; what is under way is seen to its end.", resume ? "Resume" : "Pause", !resume);
  if (reason === null) return;
  try { say((await send("POST", resume ? "resume" : "pause", { reason })).what); await fresh(); } catch (error) { trouble(error); }
});
at("mode").addEventListener("change", async (event) => {
  const mode = event.target.value;
  const reason = await ask(`Mode ${mode}?`, { observe: "Plans are written down and nothing else.", advise: "Plans wait for approval.", auto: "Plans are carried out by themselves." }[mode], `Set ${mode}`, mode === "auto");
  try { if (reason !== null) say((await send("PUT", "mode", { mode, reason })).what); await fresh(); } catch (error) { trouble(error); }
  at("mode").value = status.mode;
});

at("fan-name").disabled = true;
if (token.get()) open().catch((error) => (error instanceof Refused && error.status === 401 ? door(error.message) : (trouble(error), setTimeout(() => location.reload(), 5000)))); else door();
