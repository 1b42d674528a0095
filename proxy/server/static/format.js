// Numbers, times and durations as people read them, in the page's language.

import { locale, t } from "./i18n.js";

const cache = new Map();

function formatter(kind, options, make) {
  const name = `${kind}:${locale()}:${JSON.stringify(options)}`;
  if (!cache.has(name)) cache.set(name, make(locale(), options));
  return cache.get(name);
}

const numbers = (options) => formatter("n", options, (...all) => new Intl.NumberFormat(...all));
const dates = (options) => formatter("d", options, (...all) => new Intl.DateTimeFormat(...all));

export function number(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  return numbers({ maximumFractionDigits: digits }).format(value);
}

// 12,345 stays; 1,234,567 becomes 1.2M.
export function compact(value) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) < 10_000) return number(value, Math.abs(value) < 10 ? 1 : 0);
  return numbers({ notation: "compact", maximumFractionDigits: 1 }).format(value);
}

export function percent(part, whole) {
  if (!whole) return "–";
  const share = part / whole;
  return numbers({ style: "percent", maximumFractionDigits: share > 0 && share < 0.1 ? 1 : 0 }).format(share);
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1000) return `${number(value)} ms`;
  if (value < 60_000) return `${number(value / 1000, value < 10_000 ? 1 : 0)} s`;
  return span(value / 1000);
}

// Time left, as a clock ticks: 45 s, 4:59, 1:02:03, 3 d.
export function span(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  if (left < 60) return `${left} s`;
  if (left >= 2 * 86_400) return t("time.days", { n: number(left / 86_400) });
  const two = (value) => String(value).padStart(2, "0");
  const [h, m, s] = [Math.floor(left / 3600), Math.floor((left % 3600) / 60), left % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export function clock(ms) {
  return dates({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(ms);
}

export function hourMinute(ms) {
  return dates({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(ms);
}

export function day(ms) {
  return dates({ month: "short", day: "numeric" }).format(ms);
}

export function date(ms) {
  return dates({ year: "numeric", month: "short", day: "numeric" }).format(ms);
}

export function instant(ms) {
  const isToday = new Date(ms).toDateString() === new Date().toDateString();
  return isToday ? clock(ms) : `${day(ms)} ${hourMinute(ms)}`;
}
