import assert from "node:assert/strict";
import { test } from "node:test";
import { ChartBuffer, decimate, gapsOf, interval, withHoles } from "../../static/js/chart-buffer.js";
import { numbersOf, panelsOf } from "../../static/js/chart-fields.js";
import { ChartPast } from "../../static/js/chart-past.js";
import { decimalsOf, scale, ticks } from "../../static/js/chart-scale.js";
import { ChartSeries, questionOf } from "../../static/js/chart-series.js";

const record = (offset, seconds, data) => ({ offset, time: seconds * 1000, data });
const titles = (panels) => panels.map(({ title }) => title);

test("numbers are found at the top and one level down; nothing else is a number", () => {
  assert.deepEqual(numbersOf({ a: 1, b: "2", c: true, d: null, e: { f: 3, g: { h: 4 } }, i: [5] }), { a: 1, "e.f": 3 });
  assert.deepEqual(numbersOf(7), { value: 7 });
  assert.deepEqual([numbersOf(null), numbersOf("x"), numbersOf([1])], [{}, {}, {}]);
});

test("the host feed has panels that belong together", () => {
  const fields = ["cpu", "memory", "memory_percent", "load", "disk_read", "disk_write", "disk_writes", "net_in", "net_out"];
  assert.deepEqual(titles(panelsOf(fields)), ["CPU", "Memory", "Network", "Disk writes", "Disk", "Load"]);
});

test("what a known feed has beside gets a panel of its own", () => assert.deepEqual(titles(panelsOf(["cpu", "memory", "fan"])), ["CPU", "Memory", "fan"]));
test("any other stream has one panel for each field", () => assert.deepEqual(titles(panelsOf(["temperature", "humidity"])), ["temperature", "humidity"]));
test("a record with a hundred fields does not make a hundred panels", () => {
  assert.equal(panelsOf(Array.from({ length: 100 }, (_, index) => `f${index}`)).length, 12);
});

test("records are appended once, and an unknown field starts a column", () => {
  const buffer = new ChartBuffer(900);
  assert.equal(buffer.append([record(1, 1, { a: 1 }), record(2, 2, { a: 2 })]), true);
  assert.equal(buffer.append([record(2, 2, { a: 2 })]), false);
  assert.equal(buffer.append([record(3, 3, { b: 5 })]), true);
  assert.deepEqual([buffer.columns.get("a"), buffer.columns.get("b")], [[1, 2, null], [null, null, 5]]);
  assert.equal(buffer.latest("a"), 2);
});

test("an older page goes before, without what is there already", () => {
  const buffer = new ChartBuffer(900);
  buffer.append([record(3, 3, { a: 3 })]);
  buffer.prepend([record(1, 1, { a: 1, z: 9 }), record(2, 2, { a: 2 }), record(3, 3, { a: 3 })]);
  assert.deepEqual([buffer.offsets, buffer.columns.get("a"), buffer.columns.get("z")], [[1, 2, 3], [1, 2, 3], [9, null, null]]);
});

test("a clock that steps back does not fold the line over itself", () => {
  const buffer = new ChartBuffer(900);
  buffer.append([record(1, 10, 1), record(2, 4, 2), record(3, 11, 3)]);
  assert.deepEqual(buffer.times, [10, 10, 11]);
});

test("what is older than the longest window goes, in portions", () => {
  const buffer = new ChartBuffer(100);
  buffer.append(Array.from({ length: 1000 }, (_, index) => record(index + 1, index, index)));
  assert.ok(buffer.size < 600, `${buffer.size}`);
  assert.equal(buffer.last, 1000);
});

test("a slice begins with the last point before it", () => {
  const buffer = new ChartBuffer(900);
  buffer.append([1, 2, 3, 4].map((second) => record(second, second, second)));
  assert.deepEqual(buffer.slice(["value"], 2.5), [[2, 3, 4], [2, 3, 4]]);
});

test("a gap is much longer than usual, also at the end", () => {
  const times = [0, 1, 2, 3, 50, 51];
  assert.equal(interval(times), 1);
  assert.deepEqual(gapsOf(times, 52, 1), [[3, 50]]);
  assert.deepEqual(gapsOf(times, 90, 1), [[3, 50], [51, 90]]);
});

test("with too few records nobody knows what is usual", () => assert.deepEqual([interval([1, 9]), gapsOf([1, 9], 20, null)], [null, []]));

test("no line crosses a gap", () => {
  const columns = withHoles([[0, 1, 10, 11], [5, 6, 7, 8]], [[1, 10]]);
  assert.deepEqual(columns, [[0, 1, 5.5, 10, 11], [5, 6, null, 7, 8]]);
});

test("few points stay as they are", () => assert.equal(decimate([[1, 2], [3, 4]], 100).seconds, 0));

test("many points become lowest and highest of each stretch, and peaks stay", () => {
  const values = Array.from({ length: 1000 }, (_, index) => (index === 500 ? 99 : 1));
  const { columns, seconds } = decimate([values.map((_, index) => index), values], 50);
  assert.equal(columns[0].length, 100);
  assert.ok(columns[1].includes(99));
  assert.ok(Math.abs(seconds - 20) < 0.1);
});

test("records are drawn as lines without bands, with holes where nothing came", () => {
  const buffer = new ChartBuffer(900);
  buffer.append([0, 1, 2, 30, 31].map((second, index) => record(index + 1, second, { a: second })));
  const { columns, gaps, point } = buffer.drawn(["a"], 31, 60, 100);
  assert.deepEqual(columns[1], [0, 1, 2, null, 30, 31]);
  assert.deepEqual([columns.length, columns[2], columns[3]], [4, Array(6).fill(null), Array(6).fill(null)]);
  assert.deepEqual([gaps, point], [[[2, 30]], 0]);
});

const answer = (values, { width = 10_000, start = 0 } = {}) => ({
  times: values.map((_, index) => (start + index) * width),
  width,
  fields: { a: { mean: values, min: values.map((value) => value - 1), max: values.map((value) => value + 1) } },
});

test("sums are drawn as means with a band, in the middle of their time", () => {
  const { columns, gaps, point } = new ChartSeries(answer([5, 6, 7])).drawn(["a", "b"], 30);
  assert.deepEqual(columns, [[5, 15, 25], [5, 6, 7], [null, null, null], [4, 5, 6], [6, 7, 8], [null, null, null], [null, null, null]]);
  assert.deepEqual([gaps, point], [[], 10]);
});

test("a time without sums is a gap when it is longer than usual", () => {
  const { times, ...rest } = answer([1, 2, 3, 4]);
  const series = new ChartSeries({ ...rest, times: [times[0], times[1], times[2], 200_000] });
  assert.deepEqual(series.drawn(["a"], 400).gaps, [[25, 205], [205, 400]]);
});

test("points asked for begin where they did a moment before", () => {
  const [one, other] = [questionOf("s", 86_400 * 9 + 7, 3600), questionOf("s", 86_400 * 9 + 16, 3600)];
  assert.deepEqual([one.since % 10_000, one.points, (one.until - one.since) / one.points], [0, 361, 10_000]);
  assert.equal(other.since - one.since, 10_000);
  assert.ok(one.until > (86_400 * 9 + 7) * 1000);
});

// A server that answers when the test says so.
function past() {
  const asked = [];
  const client = { rpc: (method, question) => new Promise((resolve, reject) => asked.push({ question, resolve, reject })) };
  let changes = 0;
  const chart = new ChartPast(client, "s", () => (changes += 1));
  const settled = () => new Promise((done) => setImmediate(done));
  return { chart, asked, settled, changes: () => changes };
}

test("a long window is asked for once, and again when its newest point has changed", async () => {
  const { chart, asked, settled, changes } = past();
  assert.deepEqual([chart.of(3600, 1000), chart.of(3600, 1001), asked.length], [null, null, 1]);
  asked[0].resolve({ data: answer([1]) });
  await settled();
  assert.deepEqual(chart.of(3600, 1009.9).fields, ["a"]);
  assert.deepEqual([asked.length, changes()], [1, 1]);
  chart.of(3600, 1010);
  assert.equal(asked.length, 2);
});

test("an answer about another window is not drawn", async () => {
  const { chart, asked, settled } = past();
  chart.of(3600, 1000);
  chart.of(86_400, 1000);
  asked[0].resolve({ data: answer([1]) });
  await settled();
  assert.deepEqual([chart.of(86_400, 1000), asked.at(-1).question.until - asked.at(-1).question.since], [null, 86_640_000]);
});

test("a refusal is told, and what was there stays and is asked for again", async () => {
  const { chart, asked, settled } = past();
  chart.of(3600, 1000);
  asked[0].resolve({ data: answer([1]) });
  await settled();
  const kept = chart.of(3600, 1020);
  asked[1].reject({ code: 108, message: "ask for less time" });
  await settled();
  assert.equal(chart.of(3600, 1020.1), kept);
  assert.equal(chart.trouble, "Ask for less time.");
  chart.of(3600, 1025);
  asked[2].reject({ code: 1, message: "timeout" });
  await settled();
  assert.equal(chart.trouble, "");
});

test("scales have round steps, and all ticks as many decimals", () => {
  for (const [high, top] of [[14.2, 16], [38, 40], [3.12, 4], [0.03, 0.04], [98, 120], [1290, 1600], [7, 8]]) {
    const { low, high: end, step } = scale(0, high);
    assert.ok(low === 0 && end >= high && Math.abs(end / step - Math.round(end / step)) < 1e-9, `${high}: ${end} in steps of ${step}`);
    assert.ok(Math.abs(end - top) < 1e-9, `${high}: ${end}`);
  }
  assert.deepEqual(ticks(scale(0, 38)), [0, 10, 20, 30, 40]);
  assert.deepEqual([1, 0.5, 0.25, 20, 2.5].map(decimalsOf), [0, 1, 2, 0, 1]);
});

test("a share of a whole ends at the whole; noise stays small", () => {
  assert.deepEqual(ticks(scale(0, 98, { most: 100 })), [0, 25, 50, 75, 100]);
  assert.equal(scale(0, 14, { most: 100 }).high, 16);
  assert.equal(scale(0, 140, { most: 100 }).high, 160);
  assert.equal(scale(0, 0.002, { least: 9 }).high, 10);
});

test("values below zero and no values have a scale", () => {
  const { low, high } = scale(-30, 20);
  assert.ok(low <= -30 && high >= 20);
  assert.deepEqual(scale(null, null), { low: 0, high: 1, step: 0.5 });
});
