// Tables that stay tables for screen readers when a phone lays them out as cards.

import { ApiError } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";

// Columns: {name, label, numeric, onsort, sorted}; a sortable one has a button in its head.
export function table({ caption, columns, body, class: name }) {
  return h(
    "table",
    { role: "table", class: name },
    h("caption", { class: "sr-only" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(head))),
    body,
  );
}

function head(column) {
  const inner = column.onsort
    ? h("button", { type: "button", class: "sort", onclick: column.onsort, "data-column": column.name }, column.label, h("span", { class: "arrow", "aria-hidden": "true" }, { ascending: "↑", descending: "↓" }[column.sorted] ?? ""))
    : column.hidden
      ? h("span", { class: "sr-only" }, column.label)
      : column.label;
  return h("th", { scope: "col", role: "columnheader", class: column.numeric ? "num" : null, "aria-sort": column.onsort ? column.sorted || "none" : null }, inner);
}

export function errorWords(error) {
  if (!(error instanceof ApiError)) return t("error.network");
  if (error.status === 503) return t("error.redis");
  return error.message;
}

// What stands in the place of what could not be loaded.
export function errorState(error, retry) {
  return h("div", { class: "empty error", role: "alert" }, h("p", {}, errorWords(error)), h("button", { type: "button", onclick: retry }, t("retry")));
}

export function segmented(label, choices, chosen, onchoose) {
  const buttons = choices.map(([value, words]) =>
    h("button", { type: "button", "aria-pressed": String(value === chosen), "data-value": value, onclick: () => {
      for (const one of buttons) one.setAttribute("aria-pressed", String(one.dataset.value === value));
      onchoose(value);
    } }, words));
  return h("div", { class: "segmented", role: "group", "aria-label": label }, buttons);
}
