import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { polyline } from "../../static/js/sparkline.js";
import { age, badge, exact, excessOf, grouped, number, records, shorten, summary } from "../../static/js/words.js";

// tests/test_words.py holds the server to the same table.
const cases = JSON.parse(readFileSync(new URL("words.json", import.meta.url), "utf8"));
const NOW = 1_000_000;

for (const [value, text] of cases.number) test(`number ${value}`, () => assert.equal(number(value), text));
for (const [value, text] of cases.exact) test(`exact ${value}`, () => assert.equal(exact(value), text));
for (const [value, text] of cases.grouped) test(`grouped ${value}`, () => assert.equal(grouped(value), text));
for (const [time, text] of cases.age) test(`age of ${time}`, () => assert.equal(age(time, NOW), text));
for (const [kind, data, text] of cases.summary) test(`summary of ${JSON.stringify(data)}`, () => assert.equal(summary(kind, data), text));
for (const [points, text] of cases.sparkline) test(`sparkline of ${points}`, () => assert.equal(polyline(points), text));

test("a long text is cut between characters, never inside one", () => {
  const cut = shorten("😀".repeat(300));
  assert.equal([...cut].length, 200);
  assert.ok(cut.endsWith("😀…"));
});

test("what is too large is told in the bytes that the server counts", () => {
  const data = { text: "é".repeat(10) };
  assert.equal(excessOf(data, 31), "");
  assert.equal(excessOf(data, 30), "Too large to send: 31 bytes, at most 30.");
});

test("a badge stops at 99", () => assert.deepEqual([3, 99, 100].map(badge), ["3", "99", "99+"]));
test("one record, several records", () => assert.deepEqual([1, 2].map(records), ["1 record", "2 records"]));
