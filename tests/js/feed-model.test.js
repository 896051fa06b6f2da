import assert from "node:assert/strict";
import { test } from "node:test";
import { FeedModel } from "../../static/js/feed-model.js";

const record = (offset, more = {}) => ({ offset, time: offset * 1000, user: "2", client: "", data: { text: `r${offset}` }, ...more });
const page = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => record(from + index));
const offsets = (model) => model.records.map(({ offset }) => offset);

function feed(from, to, options = {}) {
  const model = new FeedModel({ head: to, principal: "1", cap: 10, ...options });
  model.reset(page(from, to), to);
  return model;
}

test("live records join at the end, each once", () => {
  const model = feed(1, 3);
  assert.equal(model.append(record(4), true), true);
  assert.equal(model.append(record(4), true), false);
  assert.equal(model.append(record(2), true), false);
  assert.deepEqual(offsets(model), [1, 2, 3, 4]);
});

test("a redaction takes the payload of a shown record away, live and when it was missed", () => {
  const model = feed(1, 3);
  model.append(record(4, { data: { redacts: 2 }, tags: { redacts: "2" } }), true);
  assert.deepEqual(model.records.map(({ data }) => data?.text), ["r1", undefined, "r3", undefined]);
  assert.equal(model.records[1].data, null);
  model.extend([record(5, { tags: { redacts: "3" } }), record(6, { tags: { redacts: "99" } })], 6);
  assert.deepEqual([model.records[0].data, model.records[2].data], [{ text: "r1" }, null]);
});

test("an empty stream starts with its first record", () => {
  const model = new FeedModel({ head: 0, principal: "1" });
  model.reset([], 0);
  model.append(record(1), true);
  assert.deepEqual([offsets(model), model.following], [[1], true]);
});

test("order comes from offsets, whatever the clocks say", () => {
  const model = feed(1, 0);
  model.extend([record(2, { time: 5 }), record(1, { time: 9 })], 2);
  assert.deepEqual(offsets(model), [1, 2]);
});

test("at the end the oldest go when there are too many", () => {
  const model = feed(1, 10);
  model.append(record(11), true);
  assert.deepEqual([offsets(model).length, model.first, model.last], [10, 2, 11]);
});

test("who reads further up loses nothing: the window stops following, and knows how far the stream is", () => {
  const model = feed(1, 10);
  assert.equal(model.append(record(11), false), false);
  assert.equal(model.append(record(12), false), false);
  assert.deepEqual([model.following, model.head, model.last], [false, 12, 10]);
});

test("older pages go above; what is too many goes below, and the window no longer follows", () => {
  const model = feed(21, 28);
  model.prepend(page(16, 20));
  assert.deepEqual([model.first, model.last, model.following], [16, 25, false]);
});

test("it follows again when it has reached the head", () => {
  const model = feed(21, 28);
  model.prepend(page(16, 20));
  model.append(record(29), false);
  model.extend(page(26, 29), 29);
  assert.deepEqual([model.last, model.following, model.first], [29, true, 20]);
});

test("records that came while a page was on its way leave the window behind until they are loaded", () => {
  const model = feed(1, 3);
  model.hold();
  model.append(record(4), true);
  model.append(record(5), true);
  model.extend([record(4)], 4);
  assert.equal(model.following, false);
  model.extend([record(5)], 5);
  assert.equal(model.following, true);
});

test("a stream that stores nothing can be followed again after a pause", () => {
  const model = feed(1, 0);
  model.hold();
  model.append(record(1), true);
  model.follow();
  model.append(record(2), true);
  assert.deepEqual(offsets(model), [2]);
});

test("the start of the stream is where its tail is", () => {
  assert.equal(feed(5, 8, { tail: 5 }).reachesStart, true);
  assert.equal(feed(5, 8, { tail: 1 }).reachesStart, false);
});

test("an own record takes the element of what was written, when the answer came first", () => {
  const model = feed(1, 3);
  model.write({ key: "k", text: "hi", state: "sending" });
  model.settle("k", 4);
  assert.equal(model.pending[0].state, "sent");
  model.append(record(4, { user: "1" }), true);
  assert.deepEqual([model.records.at(-1).element, model.pending.length], ["k", 0]);
});

test("and when the echo came first", () => {
  const model = feed(1, 3);
  model.client = "c1";
  model.write({ key: "k", text: "hi", state: "sending" });
  model.append(record(4, { user: "1", client: "c1" }), true);
  model.settle("k", 4);
  assert.deepEqual([model.records.at(-1).element, model.pending.length], ["k", 0]);
});

test("the echo of another tab is not taken for one's own", () => {
  const model = feed(1, 3);
  model.client = "c1";
  model.write({ key: "k", text: "hi", state: "sending" });
  model.append(record(4, { user: "1", client: "c2" }), true);
  assert.deepEqual([model.records.at(-1).element, model.pending.length], [undefined, 1]);
});

test("a retry that finds its record stored shows it once", () => {
  const model = feed(1, 3);
  model.write({ key: "k", text: "r2", state: "sending" });
  model.settle("k", 2);
  assert.deepEqual([offsets(model), model.pending.length], [[1, 2, 3], 0]);
});

test("a new start forgets what was there", () => {
  const model = feed(1, 5);
  model.reset(page(1, 2), 2);
  assert.deepEqual([offsets(model), model.following], [[1, 2], true]);
});
