import assert from "node:assert/strict";
import { test } from "node:test";
import { behind, describe, initial, isLive, reduce } from "../../static/js/connection-state.js";

const clock = (time) => `@${time}`;
const after = (state, ...events) => events.reduce(reduce, state);
const say = (state, now) => describe(state, now, clock);

const fresh = (options) => initial(0, { position: 10, ...options });
const CONNECTED = { type: "connected", at: 100 };
const subscribed = (position, head, at = 200) => ({ type: "subscribed", position, head, at });
const record = (offset, at = 300) => ({ type: "record", offset, at });
const live = () => after(fresh(), CONNECTED, subscribed(10, 10));
const lost = (at = 1000) => after(live(), { type: "connecting", at });

test("a page begins by connecting, and says nothing loud for the first seconds", () => {
  assert.equal(say(fresh(), 500).word, "Connecting");
  assert.equal(say(fresh(), 500).banner, null);
});

test("a server that never answered is told of after three seconds", () => {
  const waiting = after(fresh(), { type: "retry", at: 9000 });
  assert.equal(say(waiting, 2900).banner, null);
  assert.equal(say(waiting, 5000).banner.text, "The server does not answer. Trying again in 4 s…");
});

test("an open socket is not live", () => assert.equal(isLive(after(fresh(), CONNECTED)), false));

test("a subscription at the head is live", () => {
  assert.equal(isLive(live()), true);
  assert.deepEqual([say(live(), 300).name, say(live(), 300).tone], ["live", "good"]);
});

test("a subscription behind the head catches up, and says how much is left", () => {
  const behindBy120 = after(fresh(), CONNECTED, subscribed(10, 130));
  assert.equal(behind(behindBy120), 120);
  assert.deepEqual(say(behindBy120, 300), { name: "catching-up", word: "Catching up", detail: "120", tone: "busy", banner: null });
  assert.equal(isLive(after(behindBy120, record(129))), false);
  assert.equal(isLive(after(behindBy120, record(129), record(130))), true);
});

test("a record after that keeps it live", () => {
  const state = after(live(), record(11, 400));
  assert.equal(isLive(state), true);
  assert.deepEqual([state.head, state.liveAt], [11, 400]);
});

test("a page that only asks is live when it is connected", () => assert.equal(isLive(after(fresh({ subscribes: false }), CONNECTED)), true));

test("latency stands beside the word", () => {
  assert.equal(say(live(), 300).detail, "");
  assert.equal(say(after(live(), { type: "latency", milliseconds: 24 }), 300).detail, "24 ms");
});

test("a short blip shows no banner", () => {
  assert.equal(say(lost(), 1999).banner, null);
  assert.notEqual(say(lost(), 1999).name, "live");
});

test("after a second it says that the connection is lost, and when it tries again", () => {
  const state = after(lost(), { type: "retry", at: 6000 });
  assert.deepEqual(say(state, 2100).banner, { text: "Connection lost. Trying again in 4 s…", tone: "warn", action: "try" });
  assert.deepEqual([say(state, 2100).word, say(state, 2100).detail], ["Reconnecting", "4 s"]);
});

test("while an attempt is under way there is nothing to press", () => {
  assert.deepEqual(say(lost(), 2100).banner, { text: "Connection lost. Trying now…", tone: "warn", action: null });
});

test("further attempts do not start the wait anew", () => assert.equal(after(lost(), { type: "connecting", at: 5000 }).downSince, 1000));

test("back again it is live only when caught up", () => {
  const back = after(lost(), CONNECTED);
  assert.equal(say(back, 3000).name, "connecting");
  assert.equal(isLive(after(back, subscribed(10, 12))), false);
  assert.equal(isLive(after(back, subscribed(10, 12), record(11), record(12))), true);
});

test("a subscription that the server wants again is not live meanwhile", () => assert.equal(isLive(after(live(), { type: "subscribing" })), false));

test("without a network it says so, and up to when the data is", () => {
  const state = after(lost(), { type: "offline" });
  assert.deepEqual(say(state, 1100), {
    name: "offline",
    word: "Offline",
    detail: "",
    tone: "bad",
    banner: { text: "You are offline. Showing data up to @200. New messages will be sent when you are back.", tone: "bad", action: null },
  });
  assert.equal(say(after(state, { type: "online" }), 2100).name, "reconnecting");
});

test("after two minutes it no longer promises to be back soon, but can be told to try", () => {
  const view = say(lost(), 1000 + 120_001);
  assert.equal(view.name, "offline");
  assert.equal(view.banner.text, "No connection since @1000. Showing data up to @200. New messages will be sent when you are back.");
  assert.equal(view.banner.action, "try");
});

test("paused it counts what comes", () => {
  const state = after(live(), { type: "pause", at: 400 }, record(11), record(12));
  assert.deepEqual(say(state, 500).banner, { text: "Paused at @400 · 2 new", tone: "warn", action: "resume" });
  assert.equal(say(after(state, { type: "resume" }), 500).name, "live");
});

test("pausing twice keeps the first moment", () => {
  const state = after(live(), { type: "pause", at: 400 }, { type: "pause", at: 900 });
  assert.equal(state.paused.at, 400);
});

test("a lost connection is told of before a pause", () => {
  const state = after(live(), { type: "pause", at: 400 }, { type: "connecting", at: 1000 });
  assert.match(say(state, 3000).banner.text, /Connection lost/);
});

test("what has ended for good is not retried and not live", () => {
  const ending = { heading: "You were signed out", text: "", action: {} };
  const state = after(live(), { type: "ended", ending });
  assert.equal(isLive(state), false);
  assert.deepEqual([say(state, 300).name, say(state, 300).banner], ["denied", null]);
});
