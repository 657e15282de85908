"use strict";
// Elements are built, never parsed: nothing that a task or an error says can become markup.
const SVG = new Set(["svg", "path", "rect", "line", "text", "g", "title", "desc"]);

function el(name, attributes, ...children) {
  const node = SVG.has(name) ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) if (value !== null && value !== undefined) node.setAttribute(key, value);
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) node.append(child);
  return node;
}

const NONE = "–";
const embedded = id => JSON.parse(document.getElementById(id).textContent);
const seconds = ms => ms === null || ms === undefined ? NONE : (ms / 1000).toFixed(1) + " s";
const millis = ms => ms === null || ms === undefined ? NONE : (ms >= 100 ? ms.toFixed(0) : ms.toFixed(1)) + " ms";
const count = value => value === null || value === undefined ? NONE : value.toLocaleString("en-US");
const clock = ms => new Date(ms).toISOString().slice(11, 23);
const chip = word => el("span", { class: "chip " + word }, word);

// A column is {name, of(row), number?, head?}. On a phone every row is a card, and each cell says what it is.
function table(caption, columns, rows, options = {}) {
  const cell = (column, row) => {
    const value = column.of(row);
    const shown = value instanceof Node ? value : value === null || value === undefined ? NONE : String(value);
    const kind = column.number ? "number" : null;
    return column.head ? el("th", { scope: "row", class: kind }, shown) : el("td", { class: kind, "data-label": column.name }, shown);
  };
  const head = columns.map(column => el("th", { scope: "col", class: column.number ? "number" : null }, column.name));
  const body = rows.map(row => el("tr", { class: options.mark && options.mark(row) ? "changed" : null }, columns.map(column => cell(column, row))));
  return el("div", { class: "wide" }, el("table", { class: options.plain || "cards" },
    el("caption", { class: options.caption ? null : "hidden" }, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}
