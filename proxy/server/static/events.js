// What happened: keys that cooled or came back, Redis lost and found, workers that came and went.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { clock, day, milliseconds } from "./format.js";
import { codeWords, t } from "./i18n.js";
import { errorState } from "./table.js";

const PAGE = 100;
const AGAIN_MS = 2000;
const KINDS = {
  key_cooled: "cooling", key_parked: "parked", key_retired: "retired", key_restored: "ready", bot_rests: "cooling",
  redis_lost: "retired", redis_back: "ready", worker_started: "neutral", worker_draining: "neutral", client_limited: "cooling",
};

export function eventsView() {
  const place = h("div", {}, h("p", { class: "empty" }, t("loading")));
  const older = h("button", { type: "button", hidden: true, onclick: loadOlder }, t("trail.older"));
  let lookedAt = 0;
  let events = [];
  let drawn = "";

  async function load() {
    lookedAt = performance.now();
    try {
      const found = (await ask(`events?count=${PAGE}`)).events;
      const last = found.at(-1)?.id;
      const at = events.findIndex((one) => one.id === last);
      events = at >= 0 ? [...found, ...events.slice(at + 1)] : found;
      if (at < 0) older.hidden = found.length < PAGE;
      draw();
    } catch (error) {
      drawn = "";
      place.replaceChildren(errorState(error, load));
    }
  }

  async function loadOlder() {
    try {
      const found = (await ask(`events?count=${PAGE}&before=${events.at(-1).id}`)).events;
      events = [...events, ...found];
      older.hidden = found.length < PAGE;
      draw();
    } catch (error) {
      place.append(errorState(error, loadOlder));
    }
  }

  function draw() {
    const ids = events.map((one) => one.id).join();
    if (ids === drawn && ids) return;
    drawn = ids;
    if (!events.length) {
      place.replaceChildren(h("p", { class: "empty" }, t("events.none")));
      return;
    }
    const parts = [];
    let shown = "";
    for (const event of events) {
      const today = day(event.at_ms);
      if (today !== shown) parts.push(h("h2", { class: "day" }, today), h("ul", { class: "events" }));
      shown = today;
      parts.at(-1).append(line(event));
    }
    place.replaceChildren(...parts);
  }

  load();
  return {
    elements: [
      h("h1", { id: "view-title", tabindex: "-1" }, t("nav.events")),
      h("section", { class: "card" }, place, h("div", { class: "more" }, older)),
    ],
    update() {
      if (performance.now() - lookedAt > AGAIN_MS) load();
    },
  };
}

function line(event) {
  const name = event.account && event.account !== event.key ? `${event.key} · ${event.account}` : event.key;
  const what = name ?? event.client ?? event.bot ?? event.where ?? "";
  const facts = [
    event.bot && event.key ? event.bot : null,
    event.reason ? codeWords(event.reason) : null,
    event.limit ? codeWords(event.limit) : null,
    event.rest_ms ? t("events.cooldown", { time: milliseconds(event.rest_ms) }) : null,
    event.away_ms ? t("events.away", { time: milliseconds(event.away_ms) }) : null,
    event.by === "operator" && event.reason !== "operator" ? t("code.operator") : null,
    event.version ?? null,
  ].filter(Boolean);
  return h(
    "li",
    {},
    h("time", { datetime: new Date(event.at_ms).toISOString() }, clock(event.at_ms)),
    h("span", { class: `badge ${Object.hasOwn(KINDS, event.kind) ? KINDS[event.kind] : "neutral"}` }, codeWords(event.kind)),
    h("span", { class: "mono what" }, what),
    h("span", { class: "muted" }, facts.join(" · ")),
  );
}
