// Makes elements. Every text goes in as a text node: nothing here ever parses HTML.

const SVG = "http://www.w3.org/2000/svg";

// h("button", {class: "x", onclick: f, "aria-label": "y"}, "text", node, [more], null)
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// Changes the text only when it differs, so that screen readers and selections are left in peace.
export function setText(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

// Puts rows into the order of `items` and keeps those that are there already, with focus and all.
export function keyed(parent, rows, items, { id, make, update }) {
  const wanted = new Set(items.map(id));
  for (const [key, row] of rows) {
    if (!wanted.has(key)) {
      row.element.remove();
      rows.delete(key);
    }
  }
  let before = null;
  for (const item of items) {
    let row = rows.get(id(item));
    if (!row) {
      row = make(item);
      rows.set(id(item), row);
    }
    update(row, item);
    const place = before ? before.nextSibling : parent.firstChild;
    if (row.element !== place) parent.insertBefore(row.element, place);
    before = row.element;
  }
}

const PATHS = {
  overview: "M3 12h4l3-8 4 16 3-8h4",
  usage: "M4 20V10m6 10V4m6 16v-7m5 7H2",
  trail: "M8 6h13M8 12h13M8 18h13M3.5 6h.01M3.5 12h.01M3.5 18h.01",
  clients: "M16 20v-1.5a4 4 0 0 0-4-4H6a4 4 0 0 0-4 4V20M9 10.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M22 20v-1.5a4 4 0 0 0-3-3.8M15.5 3.7a3.5 3.5 0 0 1 0 6.7",
  events: "M12 7v5l3 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18",
  try: "M4 5h16v11H9l-5 4z",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8M12 2v2m0 16v2M4.9 4.9l1.4 1.4m11.4 11.4 1.4 1.4M2 12h2m16 0h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5",
  auto: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  leave: "M14 4h5v16h-5M4 12h11m-4-4 4 4-4 4",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  plus: "M12 5v14M5 12h14",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  close: "M6 6l12 12M18 6 6 18",
  down: "m6 9 6 6 6-6",
  key: "M14.5 9.5a4.5 4.5 0 1 0-4 4.5l1-1H14v-2h1.5zM8.5 9.5h.01M14 11l6 6v3h-3l-1-1",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name] || "");
  svg.append(path);
  return svg;
}

// Tells screen readers, politely, and shows it for a while: for what the viewer did. Shown, it covers something.
export function announce(text, { kind = "info" } = {}) {
  const announcer = document.getElementById("announcer");
  announcer.textContent = "";
  announcer.textContent = text;
  const toast = h("div", { class: `toast ${kind}` }, text);
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), 5000);
}

// Tells screen readers alone: for what happened by itself.
export function whisper(text) {
  document.getElementById("announcer").textContent = text;
}
