// What was used, by client, model, key or account: one sortable table.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { compact, milliseconds, number, percent } from "./format.js";
import { codeWords, t } from "./i18n.js";
import { errorState, segmented, table } from "./table.js";

const DIMENSIONS = ["client", "model", "key", "account"];
const SPANS = ["24h", "7d", "30d"];

const COLUMNS = [
  { name: "name", value: (row) => row.name || t("usage.unnamed"), text: (row) => row.name || t("usage.unnamed") },
  { name: "requests", value: (row) => row.requests, text: (row) => number(row.requests) },
  { name: "errors", value: failures, text: (row) => (failures(row) ? `${number(failures(row))} · ${percent(failures(row), row.requests)}` : "0"), title: codes },
  { name: "refused", value: (row) => row.refused, text: (row) => number(row.refused), title: codes },
  { name: "prompt", value: (row) => row.prompt_tokens, text: (row) => compact(row.prompt_tokens), title: promptTokens },
  { name: "completion", value: (row) => row.completion_tokens, text: (row) => compact(row.completion_tokens), title: (row) => number(row.completion_tokens) },
  { name: "points", value: (row) => row.points ?? row.points_estimated ?? 0, text: (row) => points(row) },
  { name: "first", value: (row) => row.first_text.p50_ms ?? 0, text: (row) => both(row.first_text) },
  { name: "duration", value: (row) => row.duration.p50_ms ?? 0, text: (row) => both(row.duration) },
];

function promptTokens(row) {
  const n = number(row.prompt_tokens);
  return row.cached_tokens ? t("usage.cached", { n, cached: number(row.cached_tokens) }) : n;
}

let by = "client";
let since = "24h";
let order = { column: "requests", down: true };

export function usageView() {
  const place = h("div", { class: "table-place" }, h("p", { class: "empty" }, t("loading")));
  let rows = null;
  let loading = 0;

  async function load() {
    const mine = (loading += 1);
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await ask(`usage?by=${by}&per=total&since=${since}`);
      if (mine !== loading) return;
      rows = answer.rows;
      draw();
    } catch (error) {
      if (mine === loading) place.replaceChildren(errorState(error, load));
    } finally {
      if (mine === loading) place.removeAttribute("aria-busy");
    }
  }

  function sort(column) {
    order = { column, down: order.column === column ? !order.down : column !== "name" };
    draw();
    place.querySelector(`[data-column="${column}"]`)?.focus();
  }

  function draw() {
    if (!rows.length) {
      place.replaceChildren(h("p", { class: "empty" }, t("usage.none")));
      return;
    }
    const column = COLUMNS.find((one) => one.name === order.column);
    const direction = order.down ? -1 : 1;
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
    const sorted = [...rows].sort((a, b) => direction * compare(column.value(a), column.value(b)));
    const most = Math.max(...rows.map((row) => row.tokens), 1);
    const body = h("tbody", { role: "rowgroup" }, sorted.map((row) => drawRow(row, most)));
    place.replaceChildren(
      table({
        caption: t("usage.caption", { by: t(`usage.by.${by}`) }),
        class: "usage",
        body: [body, foot()],
        columns: COLUMNS.map((one) => ({
          name: one.name,
          label: one.name === "name" ? t(`usage.by.${by}`) : t(`usage.column.${one.name}`),
          numeric: one.name !== "name",
          sorted: one.name === order.column ? (order.down ? "descending" : "ascending") : "",
          onsort: () => sort(one.name),
        })),
      }),
    );
  }

  function foot() {
    const sum = (pick) => rows.reduce((total, row) => total + pick(row), 0);
    const all = {
      name: t("usage.total", { n: number(rows.length) }), requests: sum((row) => row.requests), errors: sum((row) => row.errors), refused: sum((row) => row.refused), error_counts: {},
      prompt_tokens: sum((row) => row.prompt_tokens), cached_tokens: sum((row) => row.cached_tokens), completion_tokens: sum((row) => row.completion_tokens),
      points: rows.every((row) => row.points !== null) ? sum((row) => row.points) : null,
      points_estimated: sum((row) => row.points_estimated ?? 0), first_text: {}, duration: {},
    };
    return h("tfoot", { role: "rowgroup" }, h("tr", { role: "row" }, COLUMNS.map((column, at) =>
      at === 0
        ? h("th", { scope: "row", role: "rowheader" }, all.name)
        : h("td", { role: "cell", class: "num", "data-label": t(`usage.column.${column.name}`) }, column.name === "first" || column.name === "duration" ? "" : column.text(all)))));
  }

  load();
  return {
    elements: [
      h("h1", { id: "view-title", tabindex: "-1" }, t("nav.usage")),
      h("section", { class: "card" },
        h("div", { class: "card-head" },
          segmented(t("usage.by"), DIMENSIONS.map((one) => [one, t(`usage.by.${one}`)]), by, (value) => { by = value; load(); }),
          segmented(t("usage.since"), SPANS.map((one) => [one, t(`usage.since.${one}`)]), since, (value) => { since = value; load(); }),
          h("span", { class: "spring" }),
          h("button", { type: "button", onclick: load }, t("refresh"))),
        place,
        h("p", { class: "hint" }, t("usage.hint"))),
    ],
  };
}

function drawRow(row, most) {
  const share = h("i");
  share.style.width = `${(row.tokens / most) * 100}%`;
  return h(
    "tr",
    { role: "row", "data-name": row.name },
    COLUMNS.map((column, at) =>
      at === 0
        ? h("th", { scope: "row", role: "rowheader" }, column.text(row), h("span", { class: "bar", "aria-hidden": "true" }, share))
        : h("td", { role: "cell", class: "num", "data-label": t(`usage.column.${column.name}`), title: column.title?.(row) || null }, column.text(row))),
  );
}

// Those that failed for what the caller had asked for are refused, and no failures.
function failures(row) {
  return row.errors - row.refused;
}

function codes(row) {
  return Object.entries(row.error_counts).map(([code, many]) => `${codeWords(code)}: ${many}`).join("\n");
}

function points(row) {
  if (row.points !== null) return compact(row.points);
  return row.points_estimated ? `≈ ${compact(row.points_estimated)}` : "–";
}

function both(spread) {
  return spread.count ? `${milliseconds(spread.p50_ms)} · ${milliseconds(spread.p95_ms)}` : "–";
}
