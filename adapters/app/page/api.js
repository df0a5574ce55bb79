// Requests with the bearer token of this tab, and the event stream. The token is never in an address or a cookie.

const KEY = "foreshade.token";

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: (text) => sessionStorage.setItem(KEY, text),
  drop: () => sessionStorage.removeItem(KEY),
};

// `foreshade control` prints an address with #token=…; what follows # never leaves the browser.
const said = new URLSearchParams(location.hash.slice(1)).get("token");
if (said) {
  token.set(said);
  history.replaceState(null, "", location.pathname + location.search);
}

const headers = (more) => ({ Authorization: `Bearer ${token.get()}`, ...more });

async function answer(response) {
  if (response.ok) return response.json();
  let problem = {};
  try { problem = await response.json(); } catch { /* not ours */ }
  throw new Refused(response.status, problem);
}

export const get = (path, query = {}) => {
  const search = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== "" && v != null));
  const text = search.toString();
  return fetch(`v1/${path}${text ? `?${text}` : ""}`, { headers: headers() }).then(answer);
};

export const send = (method, path, body = {}) => fetch(`v1/${path}`, {
  method,
  headers: headers({ "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() }),
  body: JSON.stringify(body),
}).then(answer);

// EventSource cannot send a header, so the stream is read by hand: frames end with an empty line.
export async function listen(onEvent, onState) {
  let last = "";
  let wait = 500;
  for (;;) {
    try {
      const more = last ? { "Last-Event-ID": last } : {};
      const response = await fetch("v1/events", { headers: headers({ Accept: "text/event-stream", ...more }) });
      if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
      onState("live");
      wait = 500;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        text += value;
        const frames = text.split("\n\n");
        text = frames.pop();
        for (const frame of frames) {
          const data = /^data: (.*)$/m.exec(frame);
          if (!data) continue;
          const event = JSON.parse(data[1]);
          last = event.id;
          onEvent(event);
        }
      }
    } catch (error) {
      if (error instanceof Refused && error.status === 401) { onState("denied"); return; }
    }
    onState("lost");
    await new Promise((done) => { setTimeout(done, wait); });
    wait = Math.min(wait * 2, 10000);
  }
}
