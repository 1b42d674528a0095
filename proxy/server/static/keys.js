// The keys of the pool: what each is doing, its clock running down, and what an operator may do to it.

import { ask } from "./api.js";
import { announce, h, keyed, setAttribute, setText } from "./dom.js";
import { confirmDialog, openDialog } from "./dialogs.js";
import { compact, number, span } from "./format.js";
import { codeWords, t } from "./i18n.js";
import { actionMenu } from "./menu.js";
import { store } from "./store.js";
import { errorWords, table } from "./table.js";

const COLUMNS = ["key", "state", "left", "flight", "minute", "points", "outcomes", "actions"];
const COOLDOWNS = [["60", "keys.cool.minute"], ["300", "keys.cool.five"], ["3600", "keys.cool.hour"], ["86400", "keys.cool.day"]];

export function keysPanel() {
  const rows = new Map();
  const body = h("tbody", { role: "rowgroup" });
  const empty = h("p", { class: "empty" }, t("loading"));
  const list = table({
    caption: t("keys.title"),
    columns: COLUMNS.map((name) => ({ name, label: t(`keys.column.${name}`), numeric: ["flight", "minute", "points", "outcomes"].includes(name) })),
    body,
    class: "keys",
  });

  function update() {
    const keys = store.keys;
    list.hidden = !keys?.length;
    empty.hidden = Boolean(keys?.length);
    if (keys && !keys.length) setText(empty, t("keys.none"));
    if (!keys && ["away", "refuses"].includes(store.overview?.redis)) setText(empty, t("error.redis"));
    if (keys) keyed(body, rows, keys, { id: (key) => key.key_id, make: makeRow, update: updateRow });
    tick();
  }

  function tick() {
    const elapsed = (performance.now() - store.keysAt) / 1000;
    for (const row of rows.values()) {
      const left = Math.max(0, row.key.left_s - elapsed);
      setText(row.left, lasting(row.key, left, elapsed));
      row.bar.style.width = row.key.state === "cooling" && row.total > 0 ? `${Math.min(100, (left / row.total) * 100)}%` : "0";
    }
  }

  return {
    element: h("section", { class: "card", "aria-labelledby": "keys-title" }, h("div", { class: "card-head" }, h("h2", { id: "keys-title" }, t("keys.title"))), list, empty),
    update,
    tick,
  };
}

// How long the state lasts: a clock that runs down, the next look at the balance, or until somebody restores it.
function lasting(key, left, elapsed) {
  if (key.state === "cooling") return span(left);
  if (key.state === "ready") return "";
  if (key.probe_in_s === null) return t(`keys.until.${key.state}`);
  const probe = key.probe_in_s - elapsed;
  return probe > 0 ? t("keys.probe.in", { time: span(probe) }) : t("keys.probe.now");
}

function makeRow(key) {
  const part = {
    key,
    total: key.left_s,
    badge: h("span", { class: "badge" }),
    why: h("span", { class: "why" }),
    left: h("span", { class: "clock" }),
    bar: h("i"),
    flight: h("span"),
    minute: h("span"),
    meter: h("i"),
    points: h("span"),
    answered: h("span", { class: "good-text" }),
    failed: h("span", { class: "bad-text" }),
    refused: h("span", { class: "refused" }),
    actions: h("div", { class: "actions" }),
  };
  const label = (name) => t(`keys.column.${name}`);
  part.element = h(
    "tr",
    { role: "row", "data-key": key.key_id },
    h("th", { scope: "row", role: "rowheader", "data-label": label("key") },
      h("button", { type: "button", class: "link mono", onclick: () => details(part.key), "aria-label": t("keys.details", { key: key.key_id }) }, key.key_id),
      key.account === key.key_id ? null : h("span", { class: "account" }, key.account)),
    cell("state", part.badge, part.why),
    cell("left", part.left, h("span", { class: "bar", "aria-hidden": "true" }, part.bar)),
    cell("flight", part.flight),
    cell("minute", part.minute, h("span", { class: "bar", "aria-hidden": "true" }, part.meter)),
    cell("points", part.points),
    cell("outcomes", part.answered, h("span", { class: "muted", "aria-hidden": "true" }, " / "), part.failed, part.refused),
    cell("actions", part.actions),
  );
  return part;

  function cell(name, ...children) {
    return h("td", { role: "cell", "data-label": label(name), class: `c-${name}` }, children);
  }
}

function updateRow(row, key) {
  if (key.left_s > row.key.left_s + 1) row.total = key.left_s;
  row.total = Math.max(row.total, key.left_s);
  const drawn = row.drawn === key.state;
  row.key = key;
  setAttribute(row.element, "data-state", key.state);
  row.badge.className = `badge ${key.state}`;
  setText(row.badge, t(`state.${key.state}`));
  setText(row.why, key.reason ? `${codeWords(key.reason)}${key.basis === "guessed" ? ` · ${t("keys.guessed")}` : ""}` : "");
  setText(row.flight, number(key.in_flight));
  const limit = store.overview?.requests_per_minute_limit ?? 0;
  setText(row.minute, limit ? `${number(key.requests)} / ${number(limit)}` : number(key.requests));
  row.meter.style.width = limit ? `${Math.min(100, (key.requests / limit) * 100)}%` : "0";
  row.meter.className = limit && key.requests / limit > 0.85 ? "high" : "";
  setText(row.points, key.points === null ? "–" : compact(key.points));
  setAttribute(row.points, "title", key.points === null ? null : number(key.points));
  setText(row.answered, compact(key.answered));
  setText(row.failed, compact(key.failed));
  row.failed.className = key.failed ? "bad-text" : "muted";
  row.answered.className = key.answered ? "good-text" : "muted";
  setAttribute(row.answered, "aria-label", t("keys.answered", { n: number(key.answered) }));
  setAttribute(row.failed, "aria-label", t("keys.failed", { n: number(key.failed) }));
  setText(row.refused, key.refused ? t("keys.refused", { n: compact(key.refused) }) : "");
  if (!drawn) drawActions(row, key);
  row.drawn = key.state;
}

// Drawn anew only when the state changes; what had the focus hands it to what took its place.
function drawActions(row, key) {
  const hadFocus = row.actions.contains(document.activeElement);
  const button = (name, act, kind = "") =>
    h("button", { type: "button", class: `small ${kind}`, "data-action": name, "aria-label": t("keys.action.of", { action: t(`keys.action.${name}`), key: key.key_id }), onclick: act }, t(`keys.action.${name}`));
  const id = key.key_id;
  const all = {
    restore: button("restore", () => move(id, "restore"), "tinted"),
    cool: button("cool", () => cool(id)),
    probe: button("probe", () => move(id, "probe")),
    retire: button("retire", () => retire(id), "quiet-danger"),
  };
  const first = key.state === "ready" ? "cool" : "restore";
  const others = { ready: ["probe", "retire"], cooling: ["cool", "probe", "retire"], parked: ["probe", "retire"], retired: ["probe"] };
  row.actions.replaceChildren(all[first], ...actionMenu(t("keys.details", { key: id }), others[key.state].map((name) => all[name])).flat());
  if (hadFocus) row.actions.firstElementChild.focus();
}

async function move(id, action, body) {
  try {
    const key = await ask(`keys/${id}/${action}`, { method: "POST", body });
    store.keys = (store.keys || []).map((one) => (one.key_id === id ? key : one));
    if (action === "probe") announce(t("keys.probed", { key: id.slice(0, 6) }));
    else announce(t("keys.changed", { key: id.slice(0, 6), account: key.account, state: t(`state.${key.state}`) }));
  } catch (error) {
    announce(errorWords(error), { kind: "bad" });
  }
}

async function cool(id) {
  const seconds = await openDialog(t("keys.cool.title", { key: id }), (close) => {
    const input = h("input", { id: "cooldown", type: "number", min: "1", max: "31536000", step: "1", value: "300", inputmode: "numeric", autofocus: true });
    return {
      body: [
        h("p", { class: "muted" }, t("keys.cool.what")),
        h("label", { for: "cooldown" }, t("keys.cool.seconds")),
        input,
        h("div", { class: "chips" }, COOLDOWNS.map(([value, words]) => h("button", { type: "button", class: "chip", onclick: () => { input.value = value; input.focus(); } }, t(words)))),
      ],
      actions: [
        h("button", { type: "button", onclick: () => close() }, t("cancel")),
        h("button", { type: "submit", class: "primary" }, t("keys.action.cool")),
      ],
      onsubmit: () => Number(input.value) > 0 && close(Number(input.value)),
    };
  });
  if (seconds) await move(id, "cool", { seconds });
}

async function retire(id) {
  if (await confirmDialog(t("keys.retire.title", { key: id }), t("keys.retire.what"), t("keys.action.retire"))) await move(id, "retire");
}

function details(key) {
  const outcomes = Object.entries(key.outcomes).sort((a, b) => b[1] - a[1]);
  openDialog(t("keys.details", { key: key.key_id }), () => ({
    body: [
      h("dl", { class: "facts" },
        fact(t("keys.column.account"), key.account),
        fact(t("keys.column.state"), t(`state.${key.state}`)),
        key.reason ? fact(t("keys.column.reason"), `${codeWords(key.reason)}${key.basis ? ` (${t(`keys.basis.${key.basis}`)})` : ""}`) : null,
        key.left_s || key.probe_in_s === null || key.state === "ready" ? null : fact(t("keys.column.left"), lasting(key, 0, 0)),
        fact(t("keys.column.points"), key.points === null ? "–" : number(key.points)),
        fact(t("keys.column.flight"), number(key.in_flight)),
        fact(t("keys.column.minute"), number(key.requests))),
      h("h3", {}, t("keys.outcomes")),
      outcomes.length
        ? h("ul", { class: "outcomes" }, outcomes.map(([name, count]) => h("li", {}, h("span", {}, codeWords(name)), h("b", {}, number(count)))))
        : h("p", { class: "muted" }, t("keys.outcomes.none")),
    ],
  }));
}

export function fact(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}

