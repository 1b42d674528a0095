// Requests, tokens, latency and errors over the last hour, day or month. uPlot draws; the figures above are text.

import { ask } from "./api.js";
import { h, setText } from "./dom.js";
import { compact, day, hourMinute, milliseconds, number, percent } from "./format.js";
import { t } from "./i18n.js";
import { minuteList, store } from "./store.js";
import { errorState, segmented } from "./table.js";

const RANGES = {
  hour: { count: 60, step: 60_000 },
  day: { count: 24, step: 3_600_000, query: "per=hour&since=23h" },
  month: { count: 30, step: 86_400_000, query: "per=day&since=29d" },
};
const HEIGHT = 148;
const RELOAD_MS = 30_000;

let range = "hour";
let latency = "first_text";

export function chartsPanel() {
  const grid = h("div", { class: "charts" });
  const problem = h("div");
  const panels = [panel("requests"), panel("tokens"), panel("latency"), panel("errors")];
  grid.append(...panels.map((one) => one.element));
  let points = null;
  let loadedAt = -Infinity;
  let loading = 0;

  function choose(value) {
    range = value;
    points = null;
    loadedAt = -Infinity;
    update();
  }

  function update() {
    if (range === "hour") {
      if (store.minutes) show(fromMinutes());
    } else if (performance.now() - loadedAt > RELOAD_MS) {
      load();
    }
  }

  async function load() {
    loadedAt = performance.now();
    const mine = (loading += 1);
    const wanted = range;
    try {
      const { rows } = await ask(`usage?by=all&${RANGES[wanted].query}`);
      if (mine === loading && wanted === range) show(fromRows(rows, RANGES[wanted]));
    } catch (error) {
      if (mine === loading) problem.replaceChildren(errorState(error, () => load()));
    }
  }

  function show(found) {
    problem.replaceChildren();
    points = found;
    for (const one of panels) one.show(points);
  }

  return {
    element: h(
      "section",
      { class: "card", "aria-labelledby": "charts-title" },
      h("div", { class: "card-head" },
        h("h2", { id: "charts-title" }, t("charts.title")),
        segmented(t("charts.range"), Object.keys(RANGES).map((name) => [name, t(`charts.range.${name}`)]), range, choose)),
      problem,
      grid,
    ),
    update,
    leave: () => panels.forEach((one) => one.leave()),
  };
}

function fromMinutes() {
  const known = new Map(minuteList().map((minute) => [minute.at_ms, minute]));
  const last = Math.max(...known.keys(), Math.floor((Date.now() + store.skewMs) / 60_000) * 60_000);
  return spread(last, RANGES.hour, (at) => known.get(at), (minute) => ({
    ...minute,
    first_text: [minute.first_text_p50_ms, minute.first_text_p95_ms],
    duration: [minute.duration_p50_ms, minute.duration_p95_ms],
  }));
}

function fromRows(rows, { step, count }) {
  const known = new Map(rows.map((row) => [Date.parse(row.period.includes("T") ? `${row.period}:00Z` : `${row.period}T00:00Z`), row]));
  const last = Math.floor((Date.now() + store.skewMs) / step) * step;
  return spread(last, { step, count }, (at) => known.get(at), (row) => ({
    ...row,
    first_text: [row.first_text.p50_ms, row.first_text.p95_ms],
    duration: [row.duration.p50_ms, row.duration.p95_ms],
  }));
}

// One point for each minute, hour or day, whether anything happened in it or not.
function spread(last, { step, count }, find, shape) {
  const blank = { requests: 0, errors: 0, refused: 0, prompt_tokens: 0, completion_tokens: 0, first_text: [null, null], duration: [null, null] };
  return Array.from({ length: count }, (_, at) => {
    const atMs = last - (count - 1 - at) * step;
    const found = find(atMs);
    return { ...(found ? shape(found) : blank), at_ms: atMs };
  });
}

const SHAPES = {
  requests: {
    series: () => [bars("--accent")],
    values: (points) => [points.map((one) => one.requests)],
    format: compact,
    words: (chosen) => [t("charts.requests.n", { n: number(sum(chosen, "requests")) })],
  },
  tokens: {
    series: () => [bars("--accent-soft"), bars("--accent")],
    values: (points) => [points.map((one) => one.prompt_tokens + one.completion_tokens), points.map((one) => one.prompt_tokens)],
    format: compact,
    words: (chosen) => [
      ["--accent", t("charts.tokens.prompt", { n: compact(sum(chosen, "prompt_tokens")) })],
      ["--accent-soft", t("charts.tokens.completion", { n: compact(sum(chosen, "completion_tokens")) })],
    ],
  },
  latency: {
    series: () => [line("--warm"), line("--accent")],
    values: (points) => [points.map((one) => one[latency][1]), points.map((one) => one[latency][0])],
    format: milliseconds,
    words: (chosen) => {
      const timed = chosen.filter((one) => one[latency][0] !== null).at(-1);
      return [
        ["--accent", `p50 ${milliseconds(timed?.[latency][0])}`],
        ["--warm", `p95 ${milliseconds(timed?.[latency][1])}`],
      ];
    },
  },
  errors: {
    series: () => [bars("--bad")],
    values: (points) => [points.map((one) => one.errors - one.refused)],
    format: compact,
    words: (chosen) => {
      const [errors, requests] = [sum(chosen, "errors") - sum(chosen, "refused"), sum(chosen, "requests")];
      return [t("charts.errors.n", { n: number(errors), share: percent(errors, requests) })];
    },
  },
};

function panel(name) {
  const shape = SHAPES[name];
  const readout = h("p", { class: "readout" });
  const holder = h("div", { class: "plot", role: "img" });
  const title = h("h3", {}, t(`charts.${name}`));
  const head = h("div", { class: "chart-head" }, title, readout);
  let plot = null;
  let points = [];
  if (name === "latency") {
    title.after(segmented(t("charts.latency.of"), ["first_text", "duration"].map((one) => [one, t(`charts.latency.${one}`)]), latency, (value) => {
      latency = value;
      draw();
    }));
  }

  const observer = new ResizeObserver(() => plot?.setSize({ width: width(), height: HEIGHT }));
  observer.observe(holder);
  const width = () => Math.max(200, Math.floor(holder.clientWidth));

  function show(found) {
    points = found;
    draw();
  }

  function draw() {
    if (!holder.isConnected || !points.length) return;
    const data = [points.map((one) => one.at_ms / 1000), ...shape.values(points)];
    if (!plot) plot = new window.uPlot(options(shape, width(), onCursor), data, holder);
    else plot.setData(data);
    read(plot.cursor.idx ?? null);
  }

  function onCursor(chart) {
    read(chart.cursor.idx ?? null);
  }

  // What the pointer is on, or the whole range.
  function read(at) {
    const isOne = at !== null && points[at];
    const words = shape.words(isOne ? [points[at]] : points);
    const when = isOne ? timeWords(points[at].at_ms) : "";
    const text = words.map((one) => (Array.isArray(one) ? one[1] : one)).join(" · ");
    const shown = `${range} ${when} ${text}`;
    if (readout.dataset.shown === shown) return;
    readout.dataset.shown = shown;
    readout.replaceChildren(
      ...(when ? [h("time", {}, when)] : []),
      ...words.map((one) => (Array.isArray(one) ? legend(one) : h("b", {}, one))),
    );
    if (!isOne) holder.setAttribute("aria-label", `${t(`charts.${name}`)}, ${t(`charts.range.${range}`)}: ${text}`);
  }

  return {
    element: h("figure", { class: "chart", "data-chart": name }, head, holder),
    show,
    leave() {
      observer.disconnect();
      plot?.destroy();
      plot = null;
    },
  };
}

function legend([color, words]) {
  const dot = h("i", { class: "dot", "aria-hidden": "true" });
  dot.style.background = css(color);
  return h("b", {}, dot, words);
}

function timeWords(ms) {
  return range === "month" ? day(ms) : hourMinute(ms);
}

function options(shape, width, onCursor) {
  const muted = css("--muted");
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  return {
    width,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { setScale: false, x: false, y: false }, points: { size: 7 } },
    scales: {
      x: { time: true, range: (_, least, most) => [least - (most - least) / 118, most + (most - least) / 118] },
      y: { range: (_, least, most) => [0, Math.max(most * 1.12 || 0, shape.format === milliseconds ? 100 : 4)] },
    },
    axes: [
      { stroke: muted, font, grid: { show: false }, ticks: { show: false }, size: 24, gap: 4, space: 64, values: (_, seconds) => seconds.map((one) => timeWords(one * 1000)) },
      { stroke: muted, font, grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, size: 52, gap: 6, space: 34, values: (_, all) => all.map((one) => (Number.isInteger(one) || shape.format === milliseconds ? shape.format(one) : "")) },
    ],
    series: [{}, ...shape.series()],
    hooks: { setCursor: [onCursor] },
  };
}

function bars(color) {
  return { stroke: css(color), fill: css(color), width: 0, points: { show: false }, paths: window.uPlot.paths.bars({ size: [0.72, 18], radius: 0.2 }) };
}

function line(color) {
  return { stroke: css(color), width: 2, spanGaps: true, points: { show: (chart, at) => chart.data[at].filter((one) => one !== null).length < 3, size: 6, fill: css(color) }, paths: window.uPlot.paths.linear() };
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function sum(points, field) {
  return points.reduce((total, one) => total + one[field], 0);
}
