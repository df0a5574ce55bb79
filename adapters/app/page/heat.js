// Racks and hosts as a map. One tab stop; arrow keys move; what has not changed is not written.

import { at, make, number, percent } from "./dom.js";

const WIDE = 10; // hosts in a row of a rack
const DARK = new Set(["off", "asleep", "unrented"]);
const BY = {
  cpu: { of: (h) => h.cpu, say: (h) => `CPU ${percent(h.cpu)}`, legend: ["0 %", "100 % of the CPU"] },
  memory: { of: (h) => h.memory, say: (h) => `memory ${percent(h.memory)}`, legend: ["0 %", "100 % of the memory"] },
  vms: { of: (h, most) => h.vms / Math.max(most.vms, 1), say: (h) => `${h.vms} VMs`, legend: ["no VM", "most VMs"] },
  hazard: {
    of: (h, most) => h.hazard / Math.max(most.hazard, 1e-9),
    say: (h) => `hazard ${number(h.hazard, 5)} per hour`,
    legend: ["lowest hazard", "highest hazard"],
  },
};

let cells = [];
let shape = "";
let chosen = "";
let map = null;

export function heat(next, onChoose) {
  map = next;
  const outline = map.racks.map((rack) => `${rack.name}:${rack.hosts.map((h) => h.name).join()}`).join(";");
  if (outline !== shape) build(onChoose);
  shape = outline;
  paint();
}

export const repaint = () => { if (map) paint(); };
export const choose = (name) => { chosen = name; repaint(); };

function build(onChoose) {
  const box = at("heat");
  const total = map.racks.reduce((sum, rack) => sum + rack.hosts.length, 0);
  box.className = `heat ${total > 200 ? "many" : total <= 12 ? "few" : total <= 120 ? "some" : ""}`;
  cells = [];
  const racks = map.racks.map((rack) => {
    const grid = make("div", { class: "cells" });
    grid.style.setProperty("--wide", Math.min(rack.hosts.length, WIDE));
    for (const host of rack.hosts) {
      const cell = make("button", { type: "button", class: "cell", tabindex: cells.length ? -1 : 0 });
      cell.dataset.name = host.name;
      if (total <= 12) cell.textContent = host.name;
      cells.push(cell);
      grid.append(cell);
    }
    return make("div", { class: "rack" }, make("h3", {}, `${rack.name}${rack.zone ? ` · ${rack.zone}` : ""}`), grid);
  });
  box.replaceChildren(...racks);
  box.onclick = (event) => {
    const cell = event.target.closest(".cell");
    if (cell) { focus(cell, false); choose(cell.dataset.name); onChoose(cell.dataset.name); }
  };
  box.onkeydown = (event) => {
    const here = cells.indexOf(document.activeElement);
    if (here < 0) return;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: WIDE, ArrowUp: -WIDE }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? cells.length - 1 : step ? here + step : -1;
    if (to >= 0 && to < cells.length) { event.preventDefault(); focus(cells[to], true); }
  };
}

function focus(cell, move) {
  for (const other of cells) if (other.tabIndex === 0) other.tabIndex = -1;
  cell.tabIndex = 0;
  if (move) cell.focus();
}

function paint() {
  const by = BY[at("heat-by").value];
  const most = { vms: 0, hazard: 0 };
  for (const rack of map.racks) for (const h of rack.hosts) {
    most.vms = Math.max(most.vms, h.vms);
    most.hazard = Math.max(most.hazard, h.hazard);
  }
  let index = 0;
  for (const rack of map.racks) for (const host of rack.hosts) {
    const cell = cells[index];
    index += 1;
    const bucket = String(Math.max(0, Math.min(9, Math.floor(by.of(host, most) * 10))));
    const strange = host.anomaly !== "normal";
    write(cell, "b", DARK.has(host.state) ? "" : bucket);
    write(cell, "s", host.state);
    write(cell, "a", strange ? host.anomaly : "");
    const label = `${host.name}, ${rack.name}: ${host.state}, ${by.say(host)}, ${host.vms} VMs${strange ? `, ${host.anomaly}` : ""}`;
    if (cell.getAttribute("aria-label") !== label) { cell.setAttribute("aria-label", label); cell.title = label; }
    const pressed = String(host.name === chosen);
    if (cell.getAttribute("aria-pressed") !== pressed) cell.setAttribute("aria-pressed", pressed);
  }
  legend(by);
}

function write(cell, key, value) {
  if ((cell.dataset[key] || "") === value) return;
  if (value === "") delete cell.dataset[key]; else cell.dataset[key] = value;
}

let shown = null;
function legend(by) {
  if (shown === by) return;
  shown = by;
  const scale = make("span", {});
  for (let b = 0; b < 10; b += 1) {
    const swatch = make("i", {});
    swatch.style.background = `var(--h${b})`;
    scale.append(swatch);
  }
  const sample = (attributes, text) => {
    const cell = make("span", { class: "cell" });
    Object.assign(cell.dataset, attributes);
    return make("span", {}, cell, text);
  };
  at("legend").replaceChildren(
    make("span", {}, `${by.legend[0]} `, scale, ` ${by.legend[1]}`),
    sample({ s: "off" }, "off or asleep"), sample({ s: "failed" }, "failed"),
    sample({ s: "maintenance", b: "1" }, "maintenance"), sample({ a: "surge", b: "1" }, "anomaly"),
  );
}
