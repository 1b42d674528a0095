// The newest requests, each with why it got which key.

import { ask } from "./api.js";
import { h, keyed } from "./dom.js";
import { compact, instant, milliseconds, number } from "./format.js";
import { codeWords, t } from "./i18n.js";
import { minuteList } from "./store.js";
import { errorState, segmented } from "./table.js";

const PAGE = 50;
const AGAIN_MS = 2000;
const MOST_SHOWN = 500;

let failedOnly = false;

export function trailView() {
  const list = h("ol", { class: "trail" });
  const note = h("div", {}, h("p", { class: "empty" }, t("loading")));
  const older = h("button", { type: "button", hidden: true, onclick: loadOlder }, t("trail.older"));
  const newer = h("button", { type: "button", hidden: true, onclick: () => draw({ all: true }) });
  const rows = new Map();
  let requests = [];
  let wish = 0;
  let choice = 0;
  let seenTotal = null;
  let lookedAt = 0;
  let busy = false;

  async function load() {
    const mine = (wish += 1);
    busy = true;
    lookedAt = performance.now();
    try {
      const found = (await ask(`trail?count=${PAGE}&failed=${failedOnly}`)).requests;
      if (mine !== wish) return;
      const known = new Set(found.map((one) => one.id));
      const isGap = requests.length > 0 && found.length === PAGE && !known.has(requests[0].id);
      requests = isGap ? found : [...found, ...requests.filter((one) => !known.has(one.id))].slice(0, MOST_SHOWN);
      if (requests.length === found.length) older.hidden = found.length < PAGE;
      draw();
    } catch (error) {
      if (mine === wish && !requests.length) note.replaceChildren(errorState(error, load));
    } finally {
      if (mine === wish) busy = false;
    }
  }

  async function loadOlder() {
    const mine = choice;
    older.disabled = true;
    try {
      const found = (await ask(`trail?count=${PAGE}&failed=${failedOnly}&before=${requests.at(-1).id}`)).requests;
      if (mine !== choice) return;
      requests = [...requests, ...found];
      older.hidden = found.length < PAGE || requests.length >= MOST_SHOWN;
      draw();
    } catch (error) {
      note.replaceChildren(errorState(error, loadOlder));
    } finally {
      older.disabled = false;
    }
  }

  // While somebody reads an unfolded one, nothing moves: what is newer waits behind a button.
  function draw({ all = false } = {}) {
    const isReading = !all && Boolean(list.querySelector("details[open]"));
    const first = isReading ? requests.findIndex((one) => rows.has(rowName(one))) : 0;
    newer.hidden = first <= 0;
    if (first > 0) newer.textContent = t("trail.newer", { n: first });
    note.replaceChildren(...(requests.length ? [] : [h("p", { class: "empty" }, t(failedOnly ? "trail.none.failed" : "trail.none"))]));
    keyed(list, rows, requests.slice(Math.max(0, first)), { id: rowName, make: (one) => ({ element: entry(one) }), update: () => {} });
  }

  // Looks again when the live stream says that something has ended.
  function update() {
    const total = minuteList().reduce((sum, minute) => sum + minute.requests, 0);
    if (busy || performance.now() - lookedAt < AGAIN_MS || total === seenTotal) return;
    seenTotal = total;
    load();
  }

  function choose(value) {
    failedOnly = value === "failed";
    choice += 1;
    requests = [];
    older.hidden = true;
    load();
  }

  load();
  return {
    elements: [
      h("h1", { id: "view-title", tabindex: "-1" }, t("nav.trail")),
      h("section", { class: "card" },
        h("div", { class: "card-head" },
          segmented(t("trail.which"), [["all", t("trail.all")], ["failed", t("trail.failed")]], failedOnly ? "failed" : "all", choose),
          h("span", { class: "hint" }, t("trail.hint"))),
        h("div", { class: "trail-head", "aria-hidden": "true" }, ["time", "client", "model", "outcome", "first", "duration", "tokens"].map((name) => h("span", { class: `t-${name}` }, t(`trail.column.${name}`)))),
        h("div", { class: "more" }, newer), list, note,
        h("div", { class: "more" }, older)),
    ],
    update,
  };
}

// An id is unique within its stream alone, and the failed ones have a stream of their own.
function rowName(one) {
  return `${one.request_id} ${one.id}`;
}

function entry(one) {
  const kind = one.outcome === "answered" ? "ready" : one.outcome === "client_left" || one.refused ? "neutral" : "retired";
  const tokens = (one.prompt_tokens || 0) + (one.completion_tokens || 0);
  const attempts = one.why?.attempts ?? [];
  const details = h("details", {},
    h("summary", {},
      h("time", { class: "t-time", datetime: new Date(one.at_ms).toISOString() }, instant(one.at_ms)),
      h("span", { class: "t-client", title: one.client }, one.client),
      h("span", { class: "t-model", title: one.model || null }, one.model || "–"),
      h("span", { class: "t-outcome" }, h("span", { class: `badge ${kind}` }, codeWords(one.outcome)), attempts.length > 1 ? h("span", { class: "tries" }, t("trail.tries", { n: attempts.length })) : null),
      figure("first", milliseconds(one.first_text_ms)),
      figure("duration", milliseconds(one.duration_ms)),
      figure("tokens", compact(tokens))));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(unfold(one, attempts));
  });
  return h("li", {}, details);
}

function figure(name, text) {
  return h("span", { class: `num t-${name}` }, h("span", { class: "phone-label", "aria-hidden": "true" }, t(`trail.column.${name}`)), h("span", { class: "sr-only" }, `${t(`trail.column.${name}`)} `), text);
}

function unfold(one, attempts) {
  const why = one.why && typeof one.why === "object" ? one.why : {};
  const waited = why.waited_ms ? h("li", { class: "waited" }, t("trail.waited", { time: milliseconds(why.waited_ms) })) : null;
  return h("div", { class: "why-trail" },
    h("ol", {},
      waited,
      attempts.map((attempt, at) => step(attempt, at)),
      attempts.length && !Object.keys(why.skipped ?? {}).length ? null : h("li", { class: "end" }, attempts.length ? t("trail.then") : t("trail.no.key"), skipped(why.skipped))),
    h("dl", { class: "facts" },
      row(t("trail.request"), h("code", {}, one.request_id)),
      row(t("trail.status"), one.status),
      row(t("trail.stream"), t(one.stream ? "yes" : "no")),
      row(t("trail.tokens.in"), number(one.prompt_tokens)),
      row(t("trail.tokens.out"), number(one.completion_tokens)),
      one.cached_tokens ? row(t("trail.tokens.cached"), number(one.cached_tokens)) : null,
      one.cache_write_tokens ? row(t("trail.tokens.written"), number(one.cache_write_tokens)) : null,
      one.reasoning_tokens ? row(t("trail.tokens.thought"), number(one.reasoning_tokens)) : null));
}

function step(attempt, at) {
  const kind = attempt.outcome === "answered" ? "ready" : attempt.outcome === "abandoned" ? "neutral" : "retired";
  return h("li", { class: `step ${kind}` },
    h("div", {},
      h("b", {}, t("trail.attempt", { n: at + 1 })), " ",
      h("code", {}, attempt.key), " ",
      h("span", { class: `badge ${kind}` }, codeWords(attempt.outcome)), " ",
      attempt.upstream ? [h("code", {}, attempt.upstream), " "] : null,
      h("span", { class: "muted" }, milliseconds(attempt.ms))),
    skipped(attempt.skipped));
}

function skipped(keys) {
  const entries = Object.entries(keys ?? {});
  if (!entries.length) return null;
  return h("p", { class: "skipped" }, t("trail.skipped"), " ", entries.map(([key, reason], at) => [at ? ", " : "", h("code", {}, key), ` (${codeWords(reason)})`]));
}

function row(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}
