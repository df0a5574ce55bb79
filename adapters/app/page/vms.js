// VMs page by page, and shadows with what they take of the traffic.

import { get } from "./api.js";
import { at, make, number, percent, span } from "./dom.js";

const LIMIT = 50;
let cursor = null;
let next = null;

const filters = () => ({ name: at("vm-name").value.trim(), host: at("vm-host").value.trim(), kind: at("vm-kind").value });

export async function vms(reset = false) {
  if (reset) cursor = null;
  const page = await get("vms", { ...filters(), limit: LIMIT, cursor });
  next = page.next;
  const heads = ["VM", "Application", "Kind", "State", "Host", "CPU used", "Memory used", "Traffic weight", "Contention", "Anomaly", "Last move"];
  const share = (used, of) => (of > 0 ? used / of : 0);
  const rows = page.items.map((vm) => make("tr", {},
    make("th", { scope: "row" }, vm.name), make("td", {}, vm.application), make("td", {}, vm.primary ? `${vm.kind} of ${vm.primary}` : vm.kind),
    make("td", {}, vm.state), make("td", {}, [vm.host || "–", vm.destination].filter(Boolean).join(" → ")),
    make("td", { class: "n" }, meter(share(vm.usage.cpu_mhz, vm.allocation.cpu_mhz)), percent(share(vm.usage.cpu_mhz, vm.allocation.cpu_mhz))),
    make("td", { class: "n" }, percent(share(vm.usage.memory_mib, vm.allocation.memory_mib))),
    make("td", { class: "n" }, number(vm.weight, 2)), make("td", { class: "n" }, percent(vm.contention, 1)),
    make("td", {}, vm.anomaly === "normal" ? "" : vm.anomaly), make("td", { class: "n" }, vm.since_move_s == null ? "never" : `${span(vm.since_move_s)} ago`)));
  at("vms").replaceChildren(
    make("caption", {}, page.total ? "Use is of what a VM may use now." : "No VM passes the filter."),
    make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", { scope: "col" }, h)))), make("tbody", {}, ...rows));
  at("vm-count").textContent = `${number(page.items.length)} of ${number(page.total)}`;
  at("vm-next").disabled = !next;
  at("vm-first").disabled = cursor === null;
}

export const forward = () => { if (next) { cursor = next; return vms(); } return null; };

export async function shadows() {
  const page = await get("shadows", { limit: 100 });
  const box = at("shadows");
  if (!page.total) { box.replaceChildren(make("p", { class: "empty" }, "No shadow stands now.")); return; }
  const rows = page.items.map((s) => make("tr", {},
    make("th", { scope: "row" }, s.name), make("td", {}, s.primary || "gone"), make("td", {}, s.host || "–"), make("td", {}, s.state),
    make("td", { class: "n" }, meter(s.share), percent(s.share, 1))));
  box.replaceChildren(make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Shadows" }, make("table", {},
    make("caption", {}, `${number(page.total)} ${page.total === 1 ? "shadow" : "shadows"}; the share is of the traffic that it and its primary have together.`),
    make("thead", {}, make("tr", {}, ...["Shadow", "Of", "Host", "State", "Traffic"].map((h) => make("th", { scope: "col" }, h)))),
    make("tbody", {}, ...rows))));
}

function meter(share) {
  const fill = make("span", {});
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return make("span", { class: "meter", "aria-hidden": "true" }, fill);
}
