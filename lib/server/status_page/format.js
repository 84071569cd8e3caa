"use strict";
// Numbers, sizes and times as people read them, and the one way to make elements: text is set as
// text, so nothing that comes from outside is ever markup.

const NOTHING = "\u2013";
const GAP = "\u202f"; // narrow, does not break

// el("td", {class: "n"}, "text", child, ...): children that are null are left out.
function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === "") continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

// Three digits: 1.23, 12.3, 123.
function digits(value) {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1).replace(/\.0$/, "");
  return value.toFixed(2).replace(/\.?0+$/, "");
}

function scaled(value, step, units) {
  if (!known(value)) return [NOTHING, ""];
  let number = value;
  let unit = 0;
  // 999.5 is shown as 1000 else.
  while (Math.abs(number) >= step - 0.5 && unit < units.length - 1) {
    number /= step;
    ++unit;
  }
  if (Math.abs(number) >= step * 100) return [value.toExponential(1), ""];
  return [digits(number), units[unit]];
}

const COUNTS = ["", "k", "M", "G", "T", "P", "E"];
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

function joined([number, unit]) {
  return unit ? number + GAP + unit : number;
}
function count(value) {
  return joined(scaled(value, 1000, COUNTS));
}
function bytes(value) {
  return joined(scaled(value, 1024, SIZES));
}
function whole(value) {
  return known(value) ? Math.round(value).toLocaleString("en-US") : NOTHING;
}
function plural(value, one, many) {
  return `${count(value)} ${value === 1 ? one : many}`;
}
function percent(part, all) {
  if (!known(part) || !known(all) || all <= 0) return 0;
  return Math.max(0, Math.min(100, (100 * part) / all));
}
function percentText(value) {
  return (value > 0 && value < 1 ? "<1" : value.toFixed(0)) + GAP + "%";
}

// 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h
function duration(seconds) {
  if (!known(seconds)) return NOTHING;
  const s = Math.max(0, Math.floor(seconds));
  const two = (a, unitA, b, unitB) => `${a}${GAP}${unitA}` + (b ? ` ${b}${GAP}${unitB}` : "");
  if (s < 60) return `${s}${GAP}s`;
  if (s < 3600) return two(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

// Age of an RFC 3339 time by the node's clock, which may not be this one's.
function age(text, now) {
  const from = Date.parse(text || "");
  const to = Date.parse(now || "");
  return known(from) && known(to) ? duration((to - from) / 1000) : NOTHING;
}
function clockTime(date) {
  return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

function pill(kind, word) {
  return el("span", { class: `pill ${kind}` }, word);
}

function meter(value, kind, label) {
  const bar = el("i", { class: kind });
  bar.style.width = `${value}%`;
  return el("div", { class: "meter", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100,
                     "aria-valuenow": value.toFixed(0) }, bar);
}

// columns: [title, class]; rows: arrays of cells, each an element or text.
function table(columns, rows) {
  const head = el("tr", null, columns.map(([title, kind]) => el("th", { class: kind, scope: "col" }, title)));
  const body = rows.map((cells) => el("tr", null, cells.map((cell, i) => el("td", { class: columns[i][1] }, cell))));
  return el("table", null, el("thead", null, head), el("tbody", null, body));
}
