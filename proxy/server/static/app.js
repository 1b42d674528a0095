// Puts the page together: sign-in or the views, the live stream that feeds them, and the frame around both.

import { ask, follow, token, whenSignedOut } from "./api.js";
import { clientsView } from "./clients.js";
import { h, icon, setText, whisper } from "./dom.js";
import { eventsView } from "./events.js";
import { LANGUAGES, currentLanguage, setLanguage, t } from "./i18n.js";
import { overviewView } from "./overview.js";
import { signIn } from "./signin.js";
import { addMinutes, store } from "./store.js";
import { trailView } from "./trail.js";
import { tryView } from "./tryit.js";
import { usageView } from "./usage.js";

const VIEWS = {
  overview: overviewView,
  usage: usageView,
  trail: trailView,
  clients: clientsView,
  events: eventsView,
  try: tryView,
};
const THEMES = ["", "light", "dark"];
const THEME_ICONS = { "": "auto", light: "sun", dark: "moon" };

const root = document.getElementById("root");
let live = null;
let view = null;
let frame = null;

function viewName() {
  const name = location.hash.replace(/^#\/?/, "");
  return Object.hasOwn(VIEWS, name) ? name : "overview";
}

function languageSwitch() {
  const other = currentLanguage() === "en" ? "zh" : "en";
  return h(
    "button",
    { type: "button", class: "ghost", lang: other === "zh" ? "zh-CN" : "en", onclick: () => switchLanguage(other) },
    LANGUAGES[other],
  );
}

function themeSwitch() {
  const theme = window.poeProxyTheme.get();
  const button = h(
    "button",
    { type: "button", class: "ghost square", title: t(`theme.${theme || "auto"}`), "aria-label": t(`theme.${theme || "auto"}`) },
    icon(THEME_ICONS[theme]),
  );
  button.addEventListener("click", () => {
    window.poeProxyTheme.set(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
    draw({ focus: ".theme button" });
  });
  return h("span", { class: "theme" }, button);
}

function switchLanguage(language) {
  setLanguage(language);
  draw({ focus: ".language button" });
}

function drawSignIn(message = "") {
  stop();
  view?.leave?.();
  view = null;
  frame = null;
  document.title = `${t("signin.title")} · poe-proxy`;
  root.replaceChildren(
    signIn({
      message,
      extras: [h("span", { class: "language" }, languageSwitch()), themeSwitch()],
      onDone: () => {
        draw();
        start();
        document.getElementById("view-title")?.focus();
      },
    }),
  );
}

function drawFrame() {
  const links = Object.keys(VIEWS).map((name) =>
    h("a", { href: `#/${name}`, "data-view": name }, icon(name), h("span", {}, t(`nav.${name}`))),
  );
  frame = {
    status: h("span", { class: "status", "data-status": "" }),
    banner: h("div", { class: "banner", role: "alert", hidden: true }),
    main: h("main", { id: "main", tabindex: "-1" }),
    nav: h("nav", { "aria-label": t("nav.label") }, links),
  };
  root.replaceChildren(
    h("a", { class: "skip", href: "#main", onclick: skip }, t("skip")),
    h(
      "header",
      { class: "top" },
      h("a", { class: "brand", href: "#/overview" }, h("img", { src: "/admin/static/icon.svg", alt: "", width: 26, height: 26 }), "poe-proxy"),
      frame.status,
      h("span", { class: "spring" }),
      h("span", { class: "language" }, languageSwitch()),
      themeSwitch(),
      h("button", { type: "button", class: "ghost square", "aria-label": t("signout"), title: t("signout"), onclick: signOut }, icon("leave")),
    ),
    frame.nav,
    h("div", { class: "stage" }, frame.banner, frame.main),
  );
}

function skip(event) {
  event.preventDefault();
  frame.main.focus();
}

function drawView({ focus = false } = {}) {
  view?.leave?.();
  const name = viewName();
  for (const link of frame.nav.querySelectorAll("a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${t(`nav.${name}`)} · poe-proxy`;
  view = VIEWS[name]();
  frame.main.replaceChildren(...view.elements);
  view.update?.();
  if (focus) {
    scrollTo(0, 0);
    document.getElementById("view-title")?.focus();
  }
}

function draw({ focus } = {}) {
  if (!token.get()) {
    drawSignIn();
  } else {
    drawFrame();
    drawView();
    update();
  }
  if (focus) document.querySelector(focus)?.focus();
}

function update() {
  if (!frame) return;
  const state = store.lost ? "lost" : store.overview ? store.overview.status : "connecting";
  frame.status.dataset.status = state;
  setText(frame.status, t(`status.${state}`));
  drawBanner();
  view?.update?.();
}

function drawBanner() {
  const banner = frame.banner;
  const { redis, poe, status } = store.overview ?? {};
  const noRedis = redis === "away" || redis === "refuses";
  const what = store.lost ? "lost" : noRedis ? "redis" : poe === "unreachable" ? "poe" : status === "draining" ? "draining" : "";
  if (banner.dataset.what === what) return;
  banner.dataset.what = what;
  banner.hidden = !what;
  banner.replaceChildren();
  if (what) banner.append(h("span", {}, t(`banner.${what}`)));
  if (what === "lost") banner.append(h("button", { type: "button", onclick: () => live?.retry() }, t("banner.retry")));
}

function start() {
  live?.stop();
  store.lost = false;
  ask("minutes")
    .then(({ minutes }) => {
      addMinutes(minutes);
      update();
    })
    .catch(() => {});
  live = follow({
    onState: (state) => {
      if (store.lost) whisper(t("banner.back"));
      store.lost = false;
      store.overview = state.overview;
      store.skewMs = state.at_ms - Date.now();
      if (state.keys) {
        tellChanges(state.keys);
        store.keys = state.keys;
        store.keysAt = performance.now();
      }
      if (state.minutes) addMinutes(state.minutes);
      update();
    },
    onLost: () => {
      store.lost = true;
      update();
    },
  });
}

// For those who do not see the table: a key that changed its state.
function tellChanges(keys) {
  const before = new Map((store.keys || []).map((key) => [key.key_id, key.state]));
  for (const key of keys) {
    const state = before.get(key.key_id);
    if (state && state !== key.state) whisper(t("keys.changed", { key: key.key_id.slice(0, 6), account: key.account, state: t(`state.${key.state}`) }));
  }
}

function stop() {
  live?.stop();
  live = null;
}

function signOut() {
  token.clear();
  store.reset();
  drawSignIn();
}

whenSignedOut(() => {
  if (!frame) return;
  token.clear();
  store.reset();
  drawSignIn(t("signin.ended"));
});
addEventListener("hashchange", () => frame && location.hash.startsWith("#/") && drawView({ focus: true }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
setInterval(() => view?.tick?.(), 250);

setLanguage(currentLanguage());
draw();
if (token.get()) start();
