// Streams a chat through the proxy, as any client would, with a client's token that the operator types.

import { events, headerValue, token as adminToken } from "./api.js";
import { h, setText, whisper } from "./dom.js";
import { milliseconds, number } from "./format.js";
import { codeWords, t } from "./i18n.js";
import { store } from "./store.js";

// Kept while the page is open, so that a change of language or view loses nothing. Never stored.
const kept = { token: "", model: "", message: "" };

export function tryView() {
  const tokenInput = h("input", { id: "try-token", type: "password", autocomplete: "off", spellcheck: "false", value: kept.token, oninput: keep });
  const modelInput = h("input", { id: "try-model", list: "try-models", autocomplete: "off", spellcheck: "false", value: kept.model, placeholder: store.overview?.default_model ?? "", oninput: keep });
  const models = h("datalist", { id: "try-models" });
  const message = h("textarea", { id: "try-message", rows: "3", oninput: keep, onkeydown: (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(event);
  } });
  message.value = kept.message || t("try.example");
  const sendButton = h("button", { type: "submit", class: "primary" }, t("try.send"));
  const stopButton = h("button", { type: "button", hidden: true, onclick: () => controller?.abort() }, t("try.stop"));
  const thoughts = h("div", { class: "thought-text" });
  const thinking = h("details", { class: "thoughts", hidden: true }, h("summary", {}, t("try.thoughts")), thoughts);
  const answer = h("div", { class: "answer", tabindex: "0", role: "group", "aria-label": t("try.answer") }, h("p", { class: "empty" }, t("try.empty")));
  const figures = h("p", { class: "figures" });
  const error = h("p", { class: "field-error", role: "alert" });
  let controller = null;

  function keep() {
    Object.assign(kept, { token: tokenInput.value, model: modelInput.value, message: message.value });
  }

  tokenInput.addEventListener("change", async () => {
    try {
      const response = await fetch("/v1/models", { headers: { authorization: `Bearer ${headerValue(tokenInput.value.trim())}` }, credentials: "omit" });
      if (!response.ok) return;
      const { data } = await response.json();
      models.replaceChildren(...data.map((one) => h("option", { value: one.id })));
    } catch {
      // suggestions only
    }
  });

  async function send(event) {
    event.preventDefault();
    if (controller) return;
    error.textContent = "";
    if (!tokenInput.value.trim()) {
      error.textContent = t("try.token.empty");
      tokenInput.focus();
      return;
    }
    controller = new AbortController();
    answer.replaceChildren();
    answer.setAttribute("aria-busy", "true");
    thoughts.textContent = "";
    thinking.hidden = true;
    figures.textContent = "";
    sendButton.hidden = true;
    stopButton.hidden = false;
    stopButton.focus();
    whisper(t("try.waiting"));
    const seen = { beganAt: performance.now(), firstMs: null, usage: null, status: 0, why: null, finish: "" };
    try {
      await run(seen);
      if (seen.finish) whisper(t("try.done"));
    } catch (problem) {
      if (problem.name !== "AbortError") error.textContent = problem.message || t("error.network");
    } finally {
      controller = null;
      answer.removeAttribute("aria-busy");
      if (!answer.textContent) answer.replaceChildren(h("p", { class: "empty" }, t("try.nothing")));
      const hadFocus = document.activeElement === stopButton;
      sendButton.hidden = false;
      stopButton.hidden = true;
      if (hadFocus) sendButton.focus();
      showFigures(seen);
    }
  }

  async function run(seen) {
    const response = await fetch("/v1/chat/completions", {
      method: "POST",
      signal: controller.signal,
      credentials: "omit",
      headers: {
        authorization: `Bearer ${headerValue(tokenInput.value.trim())}`,
        "x-admin-token": headerValue(adminToken.get()),
        "content-type": "application/json",
      },
      body: JSON.stringify({
        ...(modelInput.value.trim() ? { model: modelInput.value.trim() } : {}),
        stream: true,
        stream_options: { include_usage: true },
        messages: [{ role: "user", content: message.value }],
      }),
    });
    seen.status = response.status;
    seen.why = parse(response.headers.get("x-why"));
    if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error?.message ?? `HTTP ${response.status}`);
    for await (const data of events(response)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Error(chunk.error.message);
      if (chunk.usage) seen.usage = chunk.usage;
      const choice = chunk.choices?.[0];
      if (choice?.finish_reason) seen.finish = choice.finish_reason;
      const delta = choice?.delta ?? {};
      if (delta.reasoning_content) {
        thinking.hidden = false;
        thoughts.append(delta.reasoning_content);
      }
      if (delta.content) {
        seen.firstMs ??= performance.now() - seen.beganAt;
        answer.append(delta.content);
        answer.scrollTop = answer.scrollHeight;
      }
    }
  }

  function showFigures(seen) {
    const attempts = seen.why?.attempts ?? [];
    const last = attempts.at(-1);
    const parts = [
      seen.status ? `HTTP ${seen.status}` : null,
      seen.firstMs === null ? null : t("try.first", { time: milliseconds(Math.round(seen.firstMs)) }),
      t("try.total", { time: milliseconds(Math.round(performance.now() - seen.beganAt)) }),
      seen.usage ? t("try.tokens", { prompt: number(seen.usage.prompt_tokens), completion: number(seen.usage.completion_tokens) }) : null,
      last ? t("try.key", { key: last.key ?? last }) : null,
      attempts.length > 1 ? t("trail.tries", { n: attempts.length }) : null,
      seen.finish ? codeWords(seen.finish) : null,
    ];
    setText(figures, parts.filter(Boolean).join(" · "));
  }

  return {
    elements: [
      h("h1", { id: "view-title", tabindex: "-1" }, t("nav.try")),
      h("div", { class: "try" },
        h("form", { class: "card try-form", onsubmit: send, novalidate: true },
          h("p", { class: "muted" }, t("try.what")),
          h("div", { class: "field" }, h("label", { for: "try-token" }, t("try.token")), tokenInput),
          h("div", { class: "field" }, h("label", { for: "try-model" }, t("try.model")), modelInput, models),
          h("div", { class: "field" }, h("label", { for: "try-message" }, t("try.message")), message),
          error,
          h("div", { class: "actions" }, sendButton, stopButton, h("span", { class: "hint" }, t("try.shortcut")))),
        h("section", { class: "card", "aria-labelledby": "try-answer" }, h("h2", { id: "try-answer" }, t("try.answer")), thinking, answer, figures)),
    ],
    leave: () => controller?.abort(),
  };
}

function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
