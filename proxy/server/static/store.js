// What the page knows: the newest state of the live stream, and the last hour by minutes.

const KEPT_MINUTES = 60;

export const store = {
  overview: null,
  keys: null,
  keysAt: 0,
  minutes: null,
  lost: false,
  skewMs: 0,
  samples: [],
  total: 0,
  reset() {
    Object.assign(this, { overview: null, keys: null, minutes: null, samples: [], total: 0 });
  },
};

// Takes minutes in; those that are known already are replaced. Also keeps how many requests ended since the page
// opened, so that it can tell how many a second.
export function addMinutes(minutes) {
  store.minutes ??= new Map();
  const newest = Math.max(...store.minutes.keys());
  for (const minute of minutes) {
    const before = store.minutes.get(minute.at_ms)?.requests ?? (minute.at_ms > newest && newest > 0 ? 0 : minute.requests);
    store.total += Math.max(0, minute.requests - before);
    store.minutes.set(minute.at_ms, minute);
  }
  const times = [...store.minutes.keys()].sort((a, b) => a - b);
  for (const old of times.slice(0, Math.max(0, times.length - KEPT_MINUTES))) store.minutes.delete(old);
  const now = performance.now();
  store.samples.push([now, store.total]);
  while (store.samples.length > 2 && now - store.samples[0][0] > 10_000) store.samples.shift();
}

export function minuteList() {
  return [...(store.minutes?.values() ?? [])].sort((a, b) => a.at_ms - b.at_ms);
}

// Requests a second over the last ten seconds.
export function requestsPerSecond() {
  const [first, last] = [store.samples[0], store.samples.at(-1)];
  if (!first || last[0] - first[0] < 900) return null;
  return ((last[1] - first[1]) * 1000) / (last[0] - first[0]);
}
