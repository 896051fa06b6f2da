import assert from "node:assert/strict";
import { test } from "node:test";
import { SendQueue } from "../../static/js/send-queue.js";

const turn = () => new Promise((resolve) => setImmediate(resolve));

// Publishes are answered by hand; the timer is wound by hand.
function bench(kept = []) {
  const saved = new Map(kept.map((item) => [item.key, item]));
  const calls = [];
  const seen = [];
  const timers = { due: null, setTimeout: (act, delay) => ((timers.due = { act, delay }), 1), clearTimeout: () => (timers.due = null) };
  const queue = new SendQueue({
    store: { load: () => [...saved.values()], save: (item) => saved.set(item.key, { ...item }), remove: (item) => saved.delete(item.key) },
    publish: (item) => new Promise((resolve, reject) => calls.push({ key: item.key, resolve, reject })),
    changed: (item) => seen.push([item.key, item.state]),
    timers,
  });
  return { queue, calls, seen, saved, timers };
}

const item = (key) => ({ key, text: key, created: Number(key) });

test("what is written is queued, sent, confirmed, forgotten", async () => {
  const { queue, calls, seen, saved } = bench();
  queue.open();
  queue.add(item("1"));
  calls[0].resolve({ offset: 7 });
  await turn();
  assert.deepEqual(seen, [["1", "queued"], ["1", "sending"], ["1", "sent"]]);
  assert.equal(saved.size, 0);
});

test("one after another, in order", async () => {
  const { queue, calls } = bench();
  queue.open();
  queue.add(item("1"));
  queue.add(item("2"));
  assert.deepEqual(calls.map(({ key }) => key), ["1"]);
  calls[0].resolve({ offset: 1 });
  await turn();
  assert.deepEqual(calls.map(({ key }) => key), ["1", "2"]);
});

test("without a connection it waits, and is kept", () => {
  const { queue, calls, saved } = bench();
  queue.add(item("1"));
  assert.equal(calls.length, 0);
  assert.equal(saved.get("1").state, "queued");
});

test("a connection lost on the way: the same key again, before what came later", async () => {
  const { queue, calls, seen } = bench();
  queue.open();
  queue.add(item("1"));
  queue.add(item("2"));
  calls[0].reject({ code: 11, message: "connection closed" });
  await turn();
  assert.deepEqual(seen.at(-1), ["1", "queued"]);
  assert.equal(calls.length, 1);
  queue.open();
  assert.deepEqual(calls.map(({ key }) => key), ["1", "1"]);
});

test("an error of the script counts as an unknown outcome too", async () => {
  const { queue, calls, seen } = bench();
  queue.open();
  queue.add(item("1"));
  calls[0].reject(new TypeError("no data"));
  await turn();
  assert.deepEqual(seen.at(-1), ["1", "queued"]);
});

test("a temporary refusal is tried again, later and later, and says so", async () => {
  const { queue, calls, timers } = bench();
  queue.open();
  const written = queue.add(item("1"));
  calls[0].reject({ code: 111, message: "too many requests: try again in a moment", temporary: true });
  await turn();
  assert.equal(written.reason, "Too many requests: try again in a moment. Sending again in 2 s.");
  timers.due.act();
  calls[1].reject({ code: 111, message: "too many requests", temporary: true });
  await turn();
  assert.equal(timers.due.delay, 4000);
});

test("a final refusal fails with its reason, and holds up nothing", async () => {
  const { queue, calls, saved } = bench();
  queue.open();
  const refused = queue.add(item("1"));
  queue.add(item("2"));
  calls[0].reject({ code: 413, message: "payload too large" });
  await turn();
  assert.deepEqual([refused.state, refused.reason, saved.get("1").state], ["failed", "Payload too large.", "failed"]);
  assert.equal(calls[1].key, "2");
});

test("what failed can be tried again or deleted", async () => {
  const { queue, calls, seen, saved } = bench();
  queue.open();
  queue.add(item("1"));
  calls[0].reject({ code: 413, message: "payload too large" });
  await turn();
  queue.retry("1");
  assert.equal(calls.length, 2);
  calls[1].reject({ code: 413, message: "payload too large" });
  await turn();
  queue.delete("1");
  assert.deepEqual([seen.at(-1), saved.size], [["1", "deleted"], 0]);
});

test("what is being sent cannot be deleted: it may be stored already", () => {
  const { queue, seen } = bench();
  queue.open();
  queue.add(item("1"));
  queue.delete("1");
  assert.deepEqual(seen.at(-1), ["1", "sending"]);
});

test("a reload sends again what was under way, and keeps what had failed", () => {
  const { queue, calls } = bench([{ ...item("1"), state: "sending", reason: "" }, { ...item("2"), state: "failed", reason: "No." }]);
  assert.deepEqual(queue.restore().map(({ key, state }) => [key, state]), [["1", "queued"], ["2", "failed"]]);
  queue.open();
  assert.deepEqual(calls.map(({ key }) => key), ["1"]);
});
