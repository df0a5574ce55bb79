// Elements from text, never from markup: names of hosts and reasons are other people's words.

export const at = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

const formats = new Map();
export function number(value, digits = 0) {
  if (value == null || !Number.isFinite(value)) return "–";
  if (!formats.has(digits)) formats.set(digits, new Intl.NumberFormat("en", { maximumFractionDigits: digits }));
  return formats.get(digits).format(value);
}
export const percent = (share, digits = 0) => `${number(share * 100, digits)} %`;
export const usd = (value, digits = 2) => {
  if (value == null) return "–";
  const small = value !== 0 && Math.abs(value) < 0.1 ? 4 : digits;
  return `${value < 0 ? "−" : ""}$${Math.abs(value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: small })}`;
};
export const clock = (time) => new Date(time).toISOString().slice(0, 16).replace("T", " ");

export function span(seconds) {
  if (seconds == null) return "–";
  if (seconds < 90) return `${number(seconds)} s`;
  if (seconds < 5400) return `${number(seconds / 60)} min`;
  return `${number(seconds / 3600, 1)} h`;
}
