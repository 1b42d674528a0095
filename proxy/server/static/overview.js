// The first view: figures, charts and keys, all live.

import { chartsPanel } from "./charts.js";
import { h, setText } from "./dom.js";
import { compact, milliseconds, number, percent } from "./format.js";
import { t } from "./i18n.js";
import { keysPanel } from "./keys.js";
import { minuteList, requestsPerSecond, store } from "./store.js";

const STATES = ["ready", "cooling", "parked", "retired"];

export function overviewView() {
  const tiles = {
    keys: tile("keys"),
    rate: tile("rate"),
    flight: tile("flight"),
    tokens: tile("tokens"),
    text: tile("text"),
    errors: tile("errors"),
  };
  const strip = h("div", { class: "strip", "aria-hidden": "true" }, STATES.map((state) => h("i", { class: state })));
  tiles.keys.element.append(strip);
  const charts = chartsPanel();
  const keys = keysPanel();

  function update() {
    const { overview, keys: known } = store;
    if (overview) {
      const count = overview.keys;
      const all = STATES.reduce((sum, state) => sum + count[state], 0);
      tiles.keys.set(`${number(count.ready)} / ${number(all)}`, all ? t("tile.keys.note", { cooling: count.cooling, out: count.parked + count.retired }) : t("tile.keys.none"));
      STATES.forEach((state, at) => { strip.children[at].style.flexGrow = String(count[state]); });
      const flight = known ? known.reduce((sum, key) => sum + key.in_flight, 0) : null;
      tiles.flight.set(number(flight), t("tile.flight.note", { n: overview.waiting }));
    }
    const rate = requestsPerSecond();
    if (store.minutes) {
      const list = minuteList();
      const sum = (field) => list.reduce((total, minute) => total + minute[field], 0);
      const requests = sum("requests");
      tiles.rate.set(rate === null ? "–" : number(rate, rate < 10 ? 1 : 0), t("tile.rate.note", { n: compact(requests) }));
      tiles.tokens.set(compact(sum("prompt_tokens") + sum("completion_tokens")), t("tile.tokens.note", { prompt: compact(sum("prompt_tokens")), completion: compact(sum("completion_tokens")) }));
      const refused = sum("refused");
      const errors = sum("errors") - refused;
      tiles.errors.set(number(errors), requests ? t("tile.errors.note", { share: percent(errors, requests), refused: compact(refused) }) : t("tile.quiet"));
      tiles.errors.element.classList.toggle("bad", requests > 0 && errors / requests > 0.05);
      const timed = list.filter((minute) => minute.first_text_p50_ms !== null).at(-1);
      tiles.text.set(milliseconds(timed?.first_text_p50_ms), timed ? t("tile.text.note", { p95: milliseconds(timed.first_text_p95_ms) }) : t("tile.quiet"));
    }
    charts.update();
    keys.update();
  }

  return {
    elements: [
      h("h1", { id: "view-title", tabindex: "-1", class: "sr-only" }, t("nav.overview")),
      h("section", { class: "tiles", "aria-label": t("tile.label") }, Object.values(tiles).map((one) => one.element)),
      keys.element,
      charts.element,
    ],
    update,
    tick: keys.tick,
    leave: charts.leave,
  };
}

function tile(name) {
  const value = h("dd", { class: "value" }, "–");
  const note = h("dd", { class: "note" }, "\u00a0");
  return {
    element: h("dl", { class: `tile tile-${name}` }, h("dt", {}, t(`tile.${name}`)), value, note),
    set(text, words) {
      setText(value, text);
      setText(note, words);
    },
  };
}
