// What the connection of a page is, as one value: `reduce(state, event)` moves it, `describe(state, now)` says it.
// Pure. A page says "live" only when it is subscribed and has everything up to the head it was told.

// A short blip stays invisible.
const QUIET_MS = 1000;
// Waiting longer than this for the first connection is worth a word.
const SLOW_MS = 3000;
// From here on "reconnecting" would be a promise that we cannot keep.
const OFFLINE_MS = 2 * 60 * 1000;

export function initial(now, { online = true, subscribes = true, position = 0 } = {}) {
  return {
    // "up" or "down"; down since when, and when the next attempt is.
    link: "down",
    downSince: now,
    retryAt: 0,
    // Whether it ever was up: the first connection is no loss.
    met: false,
    online,
    // A page that only asks (the list of streams) subscribes to nothing.
    subscribes,
    subscribed: false,
    // Offset of the newest record that the page has, and the head that it must reach to be live.
    position,
    head: position,
    liveAt: 0,
    latency: null,
    paused: null,
    // Set when there is no way on without the user: { heading, text, action }.
    ended: null,
  };
}

const EVENTS = {
  connecting: (state, { at }) => (state.link === "down" ? state : { ...state, link: "down", downSince: at, retryAt: 0, subscribed: false }),
  retry: (state, { at }) => ({ ...state, retryAt: at }),
  connected: (state, { at }) => ({ ...state, link: "up", met: true, retryAt: 0, liveAt: state.subscribes ? state.liveAt : at }),
  subscribing: (state) => ({ ...state, subscribed: false }),
  subscribed: (state, { position, head, at }) => arrived({ ...state, subscribed: true, position, head: Math.max(head, position) }, at),
  record: (state, { offset, at }) =>
    arrived({ ...state, position: Math.max(state.position, offset), paused: state.paused && { ...state.paused, count: state.paused.count + 1 } }, at),
  latency: (state, { milliseconds }) => ({ ...state, latency: milliseconds }),
  online: (state) => ({ ...state, online: true }),
  offline: (state) => ({ ...state, online: false }),
  pause: (state, { at }) => ({ ...state, paused: state.paused ?? { at, count: 0 } }),
  resume: (state) => ({ ...state, paused: null }),
  ended: (state, { ending }) => ({ ...state, ended: ending, link: "down", subscribed: false }),
};

export function reduce(state, event) {
  return EVENTS[event.type](state, event);
}

function arrived(state, at) {
  return isLive(state) ? { ...state, head: state.position, liveAt: at } : state;
}

export function isLive(state) {
  return state.ended === null && state.link === "up" && (!state.subscribes || (state.subscribed && state.position >= state.head));
}

export const behind = (state) => Math.max(0, state.head - state.position);

// { name, word, detail, tone, banner }; `clock` writes a time of day.
export function describe(state, now, clock) {
  if (state.ended !== null) return { name: "denied", word: "Not connected", detail: "", tone: "bad", banner: null };
  const link = state.link === "up" ? describeUp(state) : describeDown(state, now, clock);
  if (state.paused === null || link.banner !== null) return link;
  const banner = { text: `Paused at ${clock(state.paused.at)} · ${state.paused.count} new`, tone: "warn", action: "resume" };
  return { name: "paused", word: "Paused", detail: state.paused.count > 0 ? `${state.paused.count} new` : "", tone: "warn", banner };
}

function describeUp(state) {
  if (isLive(state)) {
    const detail = state.latency === null ? "" : `${state.latency} ms`;
    return { name: "live", word: "Live", detail, tone: "good", banner: null };
  }
  if (!state.subscribed) return { name: "connecting", word: "Connecting", detail: "", tone: "quiet", banner: null };
  return { name: "catching-up", word: "Catching up", detail: String(behind(state)), tone: "busy", banner: null };
}

function describeDown(state, now, clock) {
  const waited = now - state.downSince;
  if (!state.online || (state.met && waited > OFFLINE_MS)) return describeOffline(state, now, clock);
  if (waited < (state.met ? QUIET_MS : SLOW_MS)) return { name: "connecting", word: "Connecting", detail: "", tone: "quiet", banner: null };
  const seconds = Math.max(0, Math.ceil((state.retryAt - now) / 1000));
  const lost = state.met ? "Connection lost." : "The server does not answer.";
  const next = seconds > 0 ? `Trying again in ${seconds} s…` : "Trying now…";
  const banner = { text: `${lost} ${next}`, tone: "warn", action: seconds > 0 ? "try" : null };
  return { name: "reconnecting", word: "Reconnecting", detail: seconds > 0 ? `${seconds} s` : "", tone: "warn", banner };
}

function describeOffline(state, now, clock) {
  const upTo = state.liveAt > 0 ? ` Showing data up to ${clock(state.liveAt)}.` : "";
  const fact = state.online ? `No connection since ${clock(state.downSince)}.` : "You are offline.";
  const text = `${fact}${upTo} New messages will be sent when you are back.`;
  return { name: "offline", word: "Offline", detail: "", tone: "bad", banner: { text, tone: "bad", action: state.online ? "try" : null } };
}
