// Modal dialogs on <dialog>: the browser keeps focus within, Escape closes, and focus goes back to where it was.

import { h, icon } from "./dom.js";
import { t } from "./i18n.js";

let count = 0;

// Opens a dialog; `build(close)` gives {body, actions}. Resolves to what `close` was given, undefined for a cancel.
// A sticky one does not close when somebody clicks beside it.
export function openDialog(title, build, { wide = false, sticky = false } = {}) {
  return new Promise((resolve) => {
    const labelId = `dialog-${(count += 1)}`;
    let outcome;
    const close = (value) => {
      outcome = value;
      dialog.close();
    };
    const { body, actions = [], onsubmit } = build(close);
    const form = h(
      "form",
      {
        class: "dialog-form",
        novalidate: true,
        onsubmit: (event) => {
          event.preventDefault();
          onsubmit?.();
        },
      },
      h(
        "header",
        { class: "dialog-head" },
        h("h2", { id: labelId }, title),
        h("button", { type: "button", class: "ghost square", "aria-label": t("close"), onclick: () => close() }, icon("close")),
      ),
      h("div", { class: "dialog-body" }, body),
      actions.length ? h("footer", { class: "dialog-actions" }, actions) : null,
    );
    const dialog = h("dialog", { "aria-labelledby": labelId, class: wide ? "wide" : null }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(outcome);
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog && !sticky) close();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// Asks before something that cannot be taken back; the safe answer has the focus.
export function confirmDialog(title, text, action) {
  return openDialog(title, (close) => ({
    body: h("p", {}, text),
    actions: [
      h("button", { type: "button", autofocus: true, onclick: () => close(false) }, t("cancel")),
      h("button", { type: "button", class: "danger", onclick: () => close(true) }, action),
    ],
  }));
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // not in a secure context: the old way
    const area = h("textarea", { class: "sr-only", "aria-hidden": "true", tabindex: "-1" });
    area.value = text;
    (document.querySelector("dialog[open]") || document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
