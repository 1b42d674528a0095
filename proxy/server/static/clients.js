// Managed clients: hand out tokens, change their limits, rotate, disable, revoke.

import { ask } from "./api.js";
import { announce, h, icon } from "./dom.js";
import { confirmDialog, copyText, openDialog } from "./dialogs.js";
import { compact, date, instant, number } from "./format.js";
import { t } from "./i18n.js";
import { actionMenu, isMenuOpen } from "./menu.js";
import { errorState, errorWords, table } from "./table.js";

const LIMITS = ["requests_per_minute", "streams", "requests_per_day", "tokens_per_day"];
const USED = { requests_per_minute: "requests_in_minute", streams: "under_way", requests_per_day: "requests_today", tokens_per_day: "tokens_today" };
const AGAIN_MS = 2000;
const DAY_MS = 86_400_000;

export function clientsView() {
  const place = h("div", { class: "table-place" }, h("p", { class: "empty" }, t("loading")));
  let lookedAt = 0;
  let drawn = "";

  async function load({ focus } = {}) {
    lookedAt = performance.now();
    try {
      const answer = await ask("clients");
      const text = JSON.stringify(answer);
      if (text !== drawn) draw(answer);
      drawn = text;
      if (focus) place.querySelector(focus)?.focus();
    } catch (error) {
      drawn = "";
      place.replaceChildren(errorState(error, load));
    }
  }

  function draw({ clients, configured }) {
    const active = document.activeElement;
    const held = place.contains(active) ? [active.closest("tr")?.dataset.client, active.dataset.action] : null;
    const body = h("tbody", { role: "rowgroup" }, clients.map((client) => drawRow(client, load)));
    place.replaceChildren(
      clients.length
        ? table({
            caption: t("nav.clients"),
            class: "clients",
            body,
            columns: [
              { name: "name", label: t("clients.column.name") },
              { name: "state", label: t("clients.column.state") },
              ...LIMITS.map((name) => ({ name, label: t(`clients.short.${name}`) })),
              { name: "models", label: t("clients.column.models") },
              { name: "expires", label: t("clients.column.expires") },
              { name: "actions", label: t("keys.column.actions"), hidden: true },
            ],
          })
        : h("div", { class: "empty" }, h("p", {}, t("clients.none")), h("button", { type: "button", class: "primary", onclick: () => create(load) }, icon("plus"), t("clients.create"))),
    );
    if (configured.length) place.append(h("p", { class: "hint configured" }, t("clients.configured"), " ", configured.map((name) => [h("code", {}, name), " "])));
    if (held?.[0]) place.querySelector(`tr[data-client="${held[0]}"] [data-action="${held[1]}"]`)?.focus();
  }

  load();
  return {
    elements: [
      h("div", { class: "title-row" },
        h("h1", { id: "view-title", tabindex: "-1" }, t("nav.clients")),
        h("button", { type: "button", class: "primary", "data-action": "create", onclick: () => create(load) }, icon("plus"), t("clients.create"))),
      h("section", { class: "card" }, place),
    ],
    update() {
      if (performance.now() - lookedAt > AGAIN_MS && !document.querySelector("dialog[open]") && !isMenuOpen(place)) load();
    },
  };
}

function drawRow(client, reload) {
  const cell = (label, ...children) => h("td", { role: "cell", "data-label": label }, children);
  const kind = { active: "ready", disabled: "neutral", expired: "cooling" }[client.state];
  const button = (name, act, kindOf = "") => h("button", { type: "button", class: `small ${kindOf}`, "data-action": name, "aria-label": t("clients.action.of", { action: t(`clients.action.${name}`), name: client.name }), onclick: act }, t(`clients.action.${name}`));
  return h(
    "tr",
    { role: "row", "data-client": client.id },
    h("th", { scope: "row", role: "rowheader" }, h("span", { class: "name" }, client.name), h("code", { class: "account" }, client.id)),
    cell(t("clients.column.state"), h("span", { class: `badge ${kind}` }, t(`clients.state.${client.state}`)), client.old_token_until_ms ? h("span", { class: "why" }, t("clients.old", { time: instant(client.old_token_until_ms) })) : null),
    LIMITS.map((name) => cell(t(`clients.limit.${name}`), ...used(client[USED[name]], client[name]))),
    cell(t("clients.column.models"), h("span", { class: "globs" }, client.models.join(", "))),
    cell(t("clients.column.expires"), client.expires_at_ms ? date(client.expires_at_ms) : t("clients.never")),
    h("td", { role: "cell", class: "c-actions" }, h("div", { class: "actions" },
      button("edit", () => edit(client, reload)),
      actionMenu(client.name, [
        button("rotate", () => rotate(client, reload)),
        client.disabled || client.state === "disabled"
          ? button("enable", () => change(client, { disabled: false }, reload))
          : button("disable", () => change(client, { disabled: true }, reload)),
        button("revoke", () => revoke(client, reload), "quiet-danger"),
      ]))),
  );
}

function used(many, limit) {
  if (!limit) return [h("span", { class: "c-used" }, compact(many), h("span", { class: "muted" }, " / ∞"))];
  const bar = h("i", { class: many / limit > 0.85 ? "high" : null });
  bar.style.width = `${Math.min(100, (many / limit) * 100)}%`;
  return [h("span", { class: "c-used", title: `${number(many)} / ${number(limit)}` }, `${compact(many)} / ${compact(limit)}`), h("span", { class: "bar", "aria-hidden": "true" }, bar)];
}

async function change(client, fields, reload) {
  try {
    await ask(`clients/${client.id}`, { method: "PATCH", body: fields });
    announce(t("clients.changed", { name: client.name }));
  } catch (error) {
    announce(errorWords(error), { kind: "bad" });
  }
  await reload();
}

async function create(reload) {
  const made = await form(t("clients.create"), null, (body) => ask("clients", { method: "POST", body }));
  if (!made) return;
  await showToken(made.client.name, made.token);
  await reload({ focus: `tr[data-client="${made.client.id}"] button` });
}

async function edit(client, reload) {
  const changed = await form(t("clients.edit", { name: client.name }), client, (body) => ask(`clients/${client.id}`, { method: "PATCH", body }));
  if (!changed) return;
  announce(t("clients.changed", { name: changed.name }));
  await reload({ focus: `tr[data-client="${client.id}"] [data-action="edit"]` });
}

async function rotate(client, reload) {
  const rotated = await openDialog(t("clients.rotate.title", { name: client.name }), (close) => {
    const error = h("p", { class: "field-error", role: "alert" });
    const grace = h("select", { id: "grace" }, [["0", "now"], ["3600", "hour"], ["86400", "day"], ["604800", "week"]].map(([value, words]) => h("option", { value, selected: value === "86400" }, t(`clients.grace.${words}`))));
    return {
      body: [h("p", { class: "muted" }, t("clients.rotate.what")), h("label", { for: "grace" }, t("clients.grace")), grace, error],
      actions: [h("button", { type: "button", onclick: () => close() }, t("cancel")), h("button", { type: "submit", class: "primary" }, t("clients.action.rotate"))],
      async onsubmit() {
        try {
          close(await ask(`clients/${client.id}/rotate`, { method: "POST", body: { grace_s: Number(grace.value) } }));
        } catch (problem) {
          error.textContent = errorWords(problem);
        }
      },
    };
  });
  if (!rotated) return;
  await showToken(client.name, rotated.token);
  await reload({ focus: `tr[data-client="${client.id}"] [data-action="more"]` });
}

async function revoke(client, reload) {
  if (!(await confirmDialog(t("clients.revoke.title", { name: client.name }), t("clients.revoke.what"), t("clients.action.revoke")))) return;
  try {
    await ask(`clients/${client.id}`, { method: "DELETE" });
    announce(t("clients.revoked", { name: client.name }));
  } catch (error) {
    announce(errorWords(error), { kind: "bad" });
  }
  await reload();
  document.querySelector("[data-action=create]")?.focus();
}

// The one time that the secret is there to be seen.
function showToken(name, text) {
  return openDialog(t("clients.token.title", { name }), (close) => {
    const field = h("input", { id: "new-token", class: "mono", readonly: true, value: text, onfocus: (event) => event.target.select() });
    const done = h("p", { class: "hint", role: "status" });
    const copy = h("button", { type: "button", class: "primary", autofocus: true, "data-action": "copy", onclick: async () => {
      done.textContent = t((await copyText(text)) ? "copied" : "copy.failed");
    } }, icon("copy"), t("copy"));
    return {
      body: [h("p", {}, t("clients.token.what")), h("label", { for: "new-token" }, t("clients.token.label")), h("div", { class: "joined" }, field, copy), done],
      actions: [h("button", { type: "button", onclick: () => close() }, t("clients.token.done"))],
    };
  }, { wide: true, sticky: true });
}

// Asks for a client's fields; sends what differs. Resolves to what `send` gave.
function form(title, client, send) {
  return openDialog(title, (close) => {
    const error = h("p", { class: "field-error", role: "alert" });
    const name = h("input", { id: "f-name", maxlength: "64", required: true, autofocus: true, value: client?.name ?? "", autocomplete: "off" });
    const models = h("input", { id: "f-models", value: (client?.models ?? ["*"]).join(", "), autocomplete: "off", spellcheck: "false", "aria-describedby": "f-models-hint" });
    const limits = LIMITS.map((one) => [one, h("input", { id: `f-${one}`, type: "number", min: "0", max: "1000000000", step: "1", inputmode: "numeric", placeholder: t("clients.unlimited"), value: client?.[one] || "" })]);
    const expires = h("input", { id: "f-expires", type: "date", value: client?.expires_at_ms ? new Date(client.expires_at_ms - 1).toISOString().slice(0, 10) : "" });
    const submit = h("button", { type: "submit", class: "primary" }, t(client ? "save" : "clients.create.do"));

    function fields() {
      const all = {
        name: name.value.trim(),
        models: models.value.split(",").map((one) => one.trim().toLowerCase()).filter(Boolean),
        ...Object.fromEntries(limits.map(([one, input]) => [one, Number(input.value || 0)])),
        expires_at_ms: expires.value ? Date.parse(`${expires.value}T00:00Z`) + DAY_MS : 0,
      };
      if (!all.models.length) all.models = ["*"];
      if (!client) return all;
      return Object.fromEntries(Object.entries(all).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(client[key])));
    }

    function fail(words, param) {
      error.textContent = words;
      const input = document.getElementById(`f-${param}`) ?? document.getElementById("f-expires") ?? name;
      (param === "expires_at_ms" ? expires : input).focus();
    }

    return {
      body: [
        h("div", { class: "field" }, h("label", { for: "f-name" }, t("clients.column.name")), name),
        h("div", { class: "fields" }, limits.map(([one, input]) => h("div", { class: "field" }, h("label", { for: `f-${one}` }, t(`clients.limit.${one}`)), input))),
        h("div", { class: "field" }, h("label", { for: "f-models" }, t("clients.column.models")), models, h("p", { class: "hint", id: "f-models-hint" }, t("clients.models.hint"))),
        h("div", { class: "field" }, h("label", { for: "f-expires" }, t("clients.expires.label")), expires),
        error,
      ],
      actions: [h("button", { type: "button", onclick: () => close() }, t("cancel")), submit],
      async onsubmit() {
        if (!name.value.trim()) return fail(t("clients.name.empty"), "name");
        if (limits.some(([, input]) => !input.checkValidity())) return fail(t("clients.limit.wrong"), limits.find(([, input]) => !input.checkValidity())[0]);
        const body = fields();
        if (client && !Object.keys(body).length) return close();
        submit.disabled = true;
        try {
          close(await send(body));
        } catch (problem) {
          fail(errorWords(problem), problem.param);
        } finally {
          submit.disabled = false;
        }
        return undefined;
      },
    };
  });
}
