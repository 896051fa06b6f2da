// A long time in points, as the server sums it up: the mean of each, its lowest and its highest. Pure.

import { gapsOf, interval, withHoles } from "./chart-buffer.js";

const POINTS = 360;

// What to ask `rpc series` for. Points begin at whole multiples of their width, so that they stay the same as time goes on.
export function questionOf(stream, now, seconds) {
  const width = (seconds * 1000) / POINTS;
  const since = Math.floor((now * 1000) / width) * width - seconds * 1000;
  return { stream, since, until: since + (POINTS + 1) * width, points: POINTS + 1 };
}

export class ChartSeries {
  #columns;

  constructor({ times, width, fields }) {
    // Seconds, as everywhere in a chart; a point stands in the middle of its time.
    this.point = width / 1000;
    this.times = times.map((time) => (time + width / 2) / 1000);
    this.#columns = fields;
  }

  get fields() {
    return Object.keys(this.#columns);
  }

  // As ChartBuffer.drawn.
  drawn(names, now) {
    const column = (name, kind) => this.#columns[name]?.[kind] ?? this.times.map(() => null);
    const gaps = gapsOf(this.times, now, Math.max(this.point, interval(this.times) ?? 0));
    const lines = names.map((name) => column(name, "mean"));
    const edges = names.flatMap((name) => [column(name, "min"), column(name, "max")]);
    return { columns: withHoles([this.times, ...lines, ...edges], gaps), gaps, point: this.point };
  }
}
