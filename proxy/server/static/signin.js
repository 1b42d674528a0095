// The sign-in: an admin token, tried before it is kept.

import { ApiError, ask, token } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";

export function signIn({ message, extras, onDone }) {
  const input = h("input", {
    id: "token", name: "token", type: "password", autocomplete: "current-password", required: true,
    autofocus: true, spellcheck: "false", autocapitalize: "off", "aria-describedby": "sign-in-error sign-in-hint",
  });
  const error = h("p", { id: "sign-in-error", class: "field-error", role: "alert" }, message);
  const button = h("button", { class: "primary", type: "submit" }, t("signin.do"));

  async function submit(event) {
    event.preventDefault();
    const given = input.value.trim();
    if (!given) return fail(t("signin.empty"));
    button.disabled = true;
    error.textContent = "";
    token.set(given);
    try {
      await ask("overview");
      onDone();
    } catch (problem) {
      token.clear();
      fail(words(problem));
    } finally {
      button.disabled = false;
    }
    return undefined;
  }

  function fail(text) {
    error.textContent = text;
    input.setAttribute("aria-invalid", "true");
    input.select();
    input.focus();
  }

  queueMicrotask(() => input.focus());
  return h(
    "main",
    { class: "sign-in" },
    h(
      "form",
      { class: "card", onsubmit: submit, novalidate: true, "aria-labelledby": "sign-in-title" },
      h("img", { src: "/admin/static/icon.svg", alt: "", width: 44, height: 44 }),
      h("h1", { id: "sign-in-title" }, t("signin.title")),
      h("p", { class: "muted" }, t("signin.what")),
      h("label", { for: "token" }, t("signin.token")),
      input,
      error,
      button,
      h("p", { class: "hint", id: "sign-in-hint" }, t("signin.hint")),
    ),
    h("div", { class: "sign-in-extras" }, extras),
  );
}

function words(problem) {
  if (!(problem instanceof ApiError)) return t("error.network");
  if (problem.status === 401) return t("signin.wrong");
  if (problem.status === 429) return t("signin.slow");
  return problem.message;
}
