process.env.TZ = "UTC";

import assert from "node:assert/strict";
import { test } from "node:test";
import { FeedModel } from "../../static/js/feed-model.js";
import { rowsOf } from "../../static/js/feed-rows.js";

const DAY = 86_400_000;
const NOON = Date.UTC(2026, 10, 24, 12);
const MINUTE = 60_000;

const record = (offset, time, user = "2", data = { text: `r${offset}` }) => ({ offset, time, user, client: "", data });
const names = (principal) => ({ 2: "Mika", 3: "Jo" })[principal] ?? principal;

function rows(records, { marker = 0, pending = [], head = records.at(-1)?.offset ?? 0 } = {}) {
  const model = new FeedModel({ head, marker, principal: "1" });
  model.reset(records, head);
  for (const item of pending) model.write(item);
  return rowsOf(model, names, NOON + 30 * MINUTE);
}

const kinds = (list) => list.map((row) => (row.type === "record" ? `${row.joined ? "+" : ""}${row.offset}` : row.type));

test("a day stands before its first record", () => {
  const list = rows([record(1, NOON - 2 * DAY), record(2, NOON - DAY), record(3, NOON)]);
  assert.deepEqual(kinds(list), ["day", "1", "day", "2", "day", "3"]);
  assert.deepEqual(list.filter((row) => row.type === "day").map((row) => row.label), ["Sunday, 22 November", "Yesterday", "Today"]);
});

test("records of one sender within five minutes are one group", () => {
  const list = rows([record(1, NOON), record(2, NOON + 4 * MINUTE), record(3, NOON + 10 * MINUTE), record(4, NOON + 11 * MINUTE, "3")]);
  assert.deepEqual(kinds(list), ["day", "1", "+2", "3", "4"]);
});

test("a clock that went back ends the group", () => assert.deepEqual(kinds(rows([record(1, NOON), record(2, NOON - MINUTE)])), ["day", "1", "2"]));

test("the same day twice has two keys", () => {
  const list = rows([record(1, NOON), record(2, NOON - DAY), record(3, NOON)]);
  assert.equal(new Set(list.map((row) => row.key)).size, list.length);
});

test("what is not loaded is a gap that counts", () => {
  const list = rows([record(1, NOON), record(5, NOON)]);
  assert.deepEqual(kinds(list), ["day", "1", "gap", "day", "5"]);
  assert.deepEqual([list[2].text, list[2].after], ["— 3 records not loaded.", 1]);
});

test("the line stands before the first record that others wrote after the marker", () => {
  const list = rows([record(1, NOON), record(2, NOON, "1"), record(3, NOON), record(4, NOON)], { marker: 1 });
  assert.deepEqual(kinds(list), ["day", "1", "2", "new", "3", "+4"]);
});

test("a first visit has no line, nor has one who has read everything", () => {
  assert.ok(!kinds(rows([record(1, NOON)])).includes("new"));
  assert.ok(!kinds(rows([record(1, NOON)], { marker: 1 })).includes("new"));
});

test("names: oneself is You, others as they are known", () => {
  const list = rows([record(1, NOON, "1"), record(2, NOON, "2"), record(3, NOON, "key:x")]);
  assert.deepEqual(list.filter((row) => row.type === "record").map((row) => [row.name, row.own]), [["You", true], ["Mika", false], ["key:x", false]]);
});

test("text is text, anything else is data", () => {
  const list = rows([record(1, NOON), record(2, NOON, "3", { fps: 12 }), record(3, NOON, "3", null)]).filter((row) => row.type === "record");
  assert.deepEqual(list.map(({ text, css }) => [text, css]), [["r1", "wire-text"], ['{"fps":12}', "wire-data"], ["no payload", "wire-data"]]);
});

test("a long record scrolls by itself", () => {
  const css = (data) => rows([record(1, NOON, "2", data)]).at(-1).css;
  assert.deepEqual([2000, 2001].map((size) => css({ text: "x".repeat(size) })), ["wire-text", "wire-text wire-long"]);
  assert.equal(css(["x".repeat(2001)]), "wire-data wire-long");
});

test("what waits stands at the end, with its state", () => {
  const pending = [
    { key: "a", text: "one", created: NOON + MINUTE, state: "sending", reason: "" },
    { key: "b", text: "two", created: NOON + MINUTE, state: "failed", reason: "Payload too large." },
  ];
  const list = rows([record(1, NOON)], { pending }).slice(2);
  assert.deepEqual(list.map(({ key, state, note }) => [key, state, note]), [["a", "sending", "sending…"], ["b", "failed", "Payload too large."]]);
});

test("what is sent and not in the stream yet has its offset already", () => {
  const list = rows([record(1, NOON)], { pending: [{ key: "a", text: "one", created: NOON, state: "sent", reason: "", offset: 2 }] });
  assert.deepEqual([list.at(-1).offset, list.at(-1).state, list.at(-1).key], [2, "stored", "a"]);
});

test("a record keeps the key of what was written", () => {
  const list = rows([{ ...record(1, NOON, "1"), element: "a" }]);
  assert.equal(list.at(-1).key, "a");
});
