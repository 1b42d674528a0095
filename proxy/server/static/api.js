// The way to /admin/api: the token from session storage in a header, errors as one class, the live stream.

const TOKEN = "poe-proxy-admin-token";
const SILENCE_MS = 10_000;

let memory = {};

export class ApiError extends Error {
  constructor(status, message, param, retryAfterS) {
    super(message);
    this.status = status;
    this.param = param;
    this.retryAfterS = retryAfterS;
  }
}

// sessionStorage may be forbidden; then the token lasts as long as the page.
function stored(name) {
  try {
    return sessionStorage.getItem(name) || memory[name] || "";
  } catch {
    return memory[name] || "";
  }
}

function store(name, value) {
  memory[name] = value;
  try {
    if (value) sessionStorage.setItem(name, value);
    else sessionStorage.removeItem(name);
  } catch {
    // kept in memory
  }
}

export const token = {
  get: () => stored(TOKEN),
  set: (value) => store(TOKEN, value),
  clear: () => store(TOKEN, ""),
};

function headers() {
  return { "x-admin-token": headerValue(token.get()) };
}

// A header holds bytes; anything that is none cannot be a token either.
export function headerValue(text) {
  return [...text].every((one) => one >= "!" && one <= "~") ? text : "not-ascii";
}

let onSignedOut = () => {};
export function whenSignedOut(listener) {
  onSignedOut = listener;
}

export async function ask(path, { method = "GET", body } = {}) {
  const response = await fetch(`/admin/api/${path}`, {
    method,
    headers: { ...headers(), ...(body === undefined ? {} : { "content-type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
  });
  if (!response.ok) throw await failure(response);
  return response.status === 204 ? null : response.json();
}

async function failure(response) {
  const wait = Number(response.headers.get("retry-after")) || 0;
  let error = {};
  try {
    error = (await response.json()).error || {};
  } catch {
    // something between us and the proxy answered
  }
  if (response.status === 401) onSignedOut();
  return new ApiError(response.status, error.message || `HTTP ${response.status}`, error.param, wait);
}

// Reads server-sent events from a fetch, which EventSource cannot send headers with. Ends when the stream does.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value;
      const blocks = rest.split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split("\n").filter((line) => line.startsWith("data:"));
        if (data.length) yield data.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Follows the live stream for ever; tells of each state, and of each connection lost with the seconds until the next try.
export function follow({ onState, onLost }) {
  let stopped = false;
  let failures = 0;
  let controller = null;
  let wake = () => {};

  async function once() {
    controller = new AbortController();
    let silence = setTimeout(() => controller.abort(), SILENCE_MS);
    try {
      const response = await fetch("/admin/api/live", {
        headers: headers(), signal: controller.signal, cache: "no-store", credentials: "omit",
      });
      if (!response.ok) throw await failure(response);
      for await (const data of events(response)) {
        clearTimeout(silence);
        silence = setTimeout(() => controller.abort(), SILENCE_MS);
        failures = 0;
        onState(JSON.parse(data));
      }
    } finally {
      clearTimeout(silence);
    }
  }

  (async () => {
    while (!stopped) {
      let waitS = 0;
      try {
        await once();
      } catch (error) {
        if (error instanceof ApiError) waitS = error.retryAfterS || 0;
        if (error instanceof ApiError && error.status === 401) return;
      }
      if (stopped) return;
      waitS = Math.min(30, Math.max(waitS, Math.min(15, 2 ** failures)));
      failures += 1;
      onLost(waitS);
      await new Promise((resolve) => {
        wake = resolve;
        setTimeout(resolve, waitS * 1000);
      });
    }
  })();

  return {
    retry: () => wake(),
    stop: () => {
      stopped = true;
      controller?.abort();
      wake();
    },
  };
}
