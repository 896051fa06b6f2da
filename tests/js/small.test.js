import assert from "node:assert/strict";
import { test } from "node:test";
import { RunningMedian } from "../../static/js/median.js";
import { recordOf } from "../../static/js/record.js";
import { belongs, inOrder, isSilent, matches, nextUnread, rateOf, rowOf } from "../../static/js/stream-order.js";
import { rank } from "../../static/js/switcher-rank.js";
import { throttle } from "../../static/js/throttle.js";
import { Unread, titleOf } from "../../static/js/unread.js";

const names = (rows) => rows.map(({ name }) => name);

// median.js

test("the median forgets what is old, and one slow answer does not show", () => {
  const median = new RunningMedian(3);
  assert.equal(median.value, null);
  assert.deepEqual([10, 900, 12, 11, 13].map((value) => median.add(value)), [10, 900, 12, 12, 12]);
});

// record.js

test("a publication becomes a record, whatever it lacks", () => {
  assert.deepEqual(recordOf({ offset: 3, data: 1 }, 77), { offset: 3, passing: false, time: 77, user: "", client: "", data: 1, key: "", removed: false, tags: null });
  assert.equal(recordOf({ data: 1 }).passing, true);
  assert.equal(recordOf({ offset: 3, data: 1, time: 5, info: { user: "7", client: "c" } }).user, "7");
});

// throttle.js

test("throttled: at once, then the last call when the time is over", () => {
  const said = [];
  let due = null;
  const act = throttle((value) => said.push(value), 100, { setTimeout: (call) => ((due = call), 1) });
  act(1);
  act(2);
  act(3);
  assert.deepEqual(said, [1]);
  due();
  assert.deepEqual(said, [1, 3]);
  due();
  act(4);
  assert.deepEqual(said, [1, 3, 4]);
});

// unread.js

test("what others write counts, one's own does not, and neither does a repeat", () => {
  const unread = new Unread(5, 5);
  unread.arrived(6, false);
  unread.arrived(6, false);
  unread.arrived(7, true);
  assert.equal(unread.count, 1);
});

test("looking reads everything, and tells the server once", () => {
  const unread = new Unread(5, 7);
  assert.equal(unread.seen(), 7);
  assert.equal(unread.seen(), null);
  assert.equal(unread.count, 0);
});

test("the title counts", () => assert.deepEqual([titleOf("Lobby", 0), titleOf("Lobby", 3), titleOf("Lobby", 120)], ["Lobby", "(3) Lobby", "(99+) Lobby"]));

// stream-order.js

const NOW = 1_000_000_000;
const row = (name, seconds, more = {}) => ({ name, title: name, kind: "chart", unread: 0, time: NOW - seconds * 1000, mine: false, ...more });

test("a stream becomes a row: only what people write can be unread", () => {
  const [feed, chart] = [{ name: "lobby", title: "", kind: "feed", unread: 3, last: { time: 9 } }, { name: "pi", title: "Pi", kind: "chart", unread: 3, last: null }].map(rowOf);
  assert.deepEqual([feed.title, feed.people, feed.unread, feed.time], ["lobby", true, 3, 9]);
  assert.deepEqual([chart.title, chart.people, chart.unread, chart.time], ["Pi", false, 0, 0]);
});

test("from one unread stream to the next, in a circle, and never to where one is", () => {
  const rows = ["a", "b", "c"].map((name) => ({ name }));
  assert.deepEqual(["a", "c", "elsewhere"].map((here) => nextUnread(rows, here, 1)), ["b", "a", "a"]);
  assert.deepEqual(["a", "c", "elsewhere"].map((here) => nextUnread(rows, here, -1)), ["c", "b", "c"]);
  assert.deepEqual([nextUnread([], "a", 1), nextUnread([{ name: "a" }], "a", 1)], [null, null]);
});

test("unread first, then what is alive, then by title", () => {
  const rows = [row("old", 90_000), row("b", 2), row("a", 500), row("never", 1e6), row("news", 5000, { kind: "feed", unread: 2 })];
  assert.deepEqual(names(inOrder(rows, NOW)), ["news", "a", "b", "never", "old"]);
});

test("a machine is silent after ten minutes, people never are", () => {
  assert.deepEqual([isSilent(row("m", 601), NOW), isSilent(row("m", 599), NOW), isSilent(row("p", 9000, { kind: "feed" }), NOW)], [true, false, false]);
});

test("filters and search", () => {
  const rows = [row("lobby", 1, { unread: 1, kind: "feed" }), row("probe", 1e6), row("iot:pi", 1, { mine: true, title: "Greenhouse" })];
  assert.deepEqual(["", "unread", "mine", "silent"].map((filter) => names(rows.filter((one) => belongs(one, filter, NOW)))), [
    ["lobby", "probe", "iot:pi"], ["lobby"], ["iot:pi"], ["probe"],
  ]);
  assert.deepEqual(names(rows.filter((one) => matches(one, "GREEN"))), ["iot:pi"]);
});

test("the rate counts what came between two answers", () => {
  assert.equal(rateOf(new Map([["a", 10], ["b", 5]]), new Map([["a", 30], ["b", 5], ["c", 900]]), 2), 10);
});

// switcher-rank.js

test("the best fit comes first", () => {
  const streams = ["cam:gate", "gate", "iot:delegate", "lobby"].map((name) => ({ name, title: "" }));
  assert.deepEqual(names(rank(streams, "gate")), ["gate", "cam:gate", "iot:delegate"]);
  assert.equal(rank(streams, "").length, 4);
});
