// A button that opens what else may be done: plain buttons in a popover, which the browser closes on Escape and on a
// click elsewhere. It is in the top layer, so no table cuts it off.

import { h, icon } from "./dom.js";
import { t } from "./i18n.js";

const GAP = 4;
const MOVES = ["scroll", "resize"];
let count = 0;

// items: buttons. label: what the menu is of, such as "key 3fa1…".
export function actionMenu(label, items) {
  const id = `menu-${(count += 1)}`;
  const list = h("div", { id, class: "menu", popover: "auto", role: "group", "aria-label": t("more.of", { what: label }) }, items);
  const opener = h("button", { type: "button", class: "small square-small", popovertarget: id, "aria-expanded": "false", "aria-label": t("more.of", { what: label }), title: t("more"), "data-action": "more" }, icon("more"));
  function close() {
    for (const what of MOVES) removeEventListener(what, close, { capture: true });
    if (list.matches(":popover-open")) list.hidePopover();
  }
  list.addEventListener("toggle", (event) => {
    const isOpen = event.newState === "open";
    opener.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return close();
    for (const what of MOVES) addEventListener(what, close, { capture: true, passive: true });
    place(list, opener.getBoundingClientRect());
    list.querySelector("button")?.focus({ preventScroll: true });
    return undefined;
  });
  for (const item of items) item.addEventListener("click", close);
  return [opener, list];
}

export function isMenuOpen(within) {
  return Boolean(within.querySelector(".menu:popover-open"));
}

// Below the button, or above it where there is more room; its right edge at the button's.
function place(list, button) {
  const size = list.getBoundingClientRect();
  const fitsBelow = button.bottom + GAP + size.height <= innerHeight;
  list.style.top = `${Math.max(GAP, fitsBelow ? button.bottom + GAP : button.top - GAP - size.height)}px`;
  list.style.left = `${Math.max(GAP, Math.min(button.right - size.width, innerWidth - size.width - GAP))}px`;
}
