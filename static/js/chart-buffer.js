// The numbers of the last minutes, in columns, as a chart wants them. Pure.

import { numbersOf } from "./chart-fields.js";

export const MAX_POINTS = 30_000;
// A pause is a gap when it is this many times the usual interval, and not a mere hiccup.
const GAP_INTERVALS = 3;
const GAP_SECONDS = 2;
const SAMPLE = 200;

export class ChartBuffer {
  offsets = [];
  // Seconds since 1970.
  times = [];
  // Field → values; null where a record has none.
  columns = new Map();

  constructor(keepSeconds) {
    this.keepSeconds = keepSeconds;
  }

  get size() {
    return this.offsets.length;
  }

  get first() {
    return this.offsets[0] ?? 0;
  }

  get last() {
    return this.offsets.at(-1) ?? 0;
  }

  get fields() {
    return [...this.columns.keys()];
  }

  clear() {
    this.offsets = [];
    this.times = [];
    this.columns.clear();
  }

  // Newer records, in order. Returns whether a field came up that was not there.
  append(records) {
    const fresh = records.filter((record) => record.offset > this.last);
    const known = this.columns.size;
    for (const record of fresh) this.#push(record);
    this.#trim();
    return this.columns.size > known;
  }

  // An older page, in order.
  prepend(records) {
    const older = new ChartBuffer(this.keepSeconds);
    for (const record of records.filter((candidate) => candidate.offset < this.first)) older.#push(record);
    const known = this.columns.size;
    for (const name of older.columns.keys()) if (!this.columns.has(name)) this.columns.set(name, this.times.map(() => null));
    for (const [name, values] of this.columns) {
      this.columns.set(name, [...(older.columns.get(name) ?? older.times.map(() => null)), ...values]);
    }
    this.offsets = [...older.offsets, ...this.offsets];
    this.times = [...older.times, ...this.times];
    return this.columns.size > known;
  }

  #push(record) {
    const numbers = numbersOf(record.data);
    for (const name of Object.keys(numbers)) if (!this.columns.has(name)) this.columns.set(name, this.times.map(() => null));
    this.offsets.push(record.offset);
    // A clock that steps back must not fold the line over itself: the order is that of the offsets.
    this.times.push(Math.max(record.time / 1000, this.times.at(-1) ?? 0));
    for (const [name, values] of this.columns) values.push(numbers[name] ?? null);
  }

  #trim() {
    const oldest = (this.times.at(-1) ?? 0) - this.keepSeconds;
    let drop = Math.max(0, this.times.length - MAX_POINTS);
    while (this.times[drop] < oldest) drop += 1;
    // In portions: moving thousands of numbers for each record would be waste.
    if (drop < 500) return;
    this.offsets.splice(0, drop);
    this.times.splice(0, drop);
    for (const values of this.columns.values()) values.splice(0, drop);
  }

  // The usual seconds between records, judged by the latest.
  get interval() {
    return interval(this.times.slice(-SAMPLE));
  }

  latest(name) {
    return this.columns.get(name)?.findLast((value) => value !== null) ?? null;
  }

  // Times and columns from `from` on, with the last point before it, so that the line enters from the edge.
  slice(names, from) {
    let start = lowerBound(this.times, from);
    if (start > 0) start -= 1;
    return [this.times.slice(start), ...names.map((name) => (this.columns.get(name) ?? []).slice(start))];
  }

  // What a panel draws of the last `seconds` before `now`: the times, a line for each field, and then the edges of the band around each;
  // the gaps; and how many seconds one point stands for, 0 for each its own.
  drawn(names, now, seconds, buckets) {
    const raw = this.slice(names, now - seconds);
    const gaps = gapsOf(raw[0], now, this.interval);
    const { columns, seconds: point } = decimate(withHoles(raw, gaps), buckets);
    const none = columns[0].map(() => null);
    return { columns: [...columns, ...names.flatMap(() => [none, none])], gaps, point };
  }
}

function lowerBound(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The usual interval between records, in seconds; null when there are too few.
export function interval(times) {
  if (times.length < 3) return null;
  const steps = times.slice(1).map((time, index) => time - times[index]);
  steps.sort((a, b) => a - b);
  return steps[steps.length >> 1];
}

// [from, to] of each stretch without records, up to `until`, where `usual` is the interval between records.
export function gapsOf(times, until, usual) {
  if (usual === null) return [];
  const limit = Math.max(usual * GAP_INTERVALS, GAP_SECONDS);
  const ends = [...times, until];
  return times.flatMap((time, index) => (ends[index + 1] - time > limit ? [[time, ends[index + 1]]] : []));
}

// The same columns with a hole in the middle of each gap, so that no line crosses it.
export function withHoles(columns, gaps) {
  if (gaps.length === 0) return columns;
  const [times, ...values] = columns;
  const inner = gaps.filter(([, to]) => to <= times.at(-1));
  const result = columns.map(() => []);
  let next = 0;
  times.forEach((time, index) => {
    result[0].push(time);
    values.forEach((column, number) => result[number + 1].push(column[index]));
    if (next < inner.length && inner[next][0] === time && times[index + 1] !== time) {
      result[0].push((inner[next][0] + inner[next][1]) / 2);
      values.forEach((_, number) => result[number + 1].push(null));
      next += 1;
    }
  });
  return result;
}

// At most two points for each of `buckets` stretches, the lowest and the highest: peaks stay.
export function decimate(columns, buckets) {
  const [times, ...values] = columns;
  const per = Math.ceil(times.length / buckets);
  if (per <= 2) return { columns, seconds: 0 };
  const result = columns.map(() => []);
  for (let start = 0; start < times.length; start += per) {
    const end = Math.min(start + per, times.length);
    result[0].push(times[start], times[end - 1]);
    values.forEach((column, number) => result[number + 1].push(...extremes(column.slice(start, end))));
  }
  return { columns: result, seconds: (times.at(-1) - times[0]) / (result[0].length / 2) };
}

// Lowest and highest in the order in which they came; a hole stays one.
function extremes(values) {
  if (values.includes(null)) return [values[0], null];
  const low = Math.min(...values);
  const high = Math.max(...values);
  return values.indexOf(low) <= values.indexOf(high) ? [low, high] : [high, low];
}
