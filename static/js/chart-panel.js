// One panel: title, legend, the newest value, the plot.

import uPlot from "../uplot/uPlot.esm.js";
import { decimalsOf, scale, ticks } from "./chart-scale.js";
import { clone, setText } from "./page.js";
import { clock, clockSeconds, dayOnly } from "./times.js";
import { duration, grouped, number } from "./words.js";

const HEIGHT = 164;
const AXIS_PX = 40;
const FONT = "11px system-ui, sans-serif";
const WORDS = "no records";
const HOUR = 3_600;
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export class ChartPanel {
  #plot;
  #gaps = [];
  #latest = "–";
  #scale = { low: 0, high: 1, step: 0.5 };
  #colours;
  #legend = [];

  // onTime(seconds): where the cursor is; nothing is said when it has left.
  constructor(panel, sync, onTime) {
    this.panel = panel;
    this.element = clone("panel");
    this.#colours = this.element.querySelector(".chart-colours");
    setText(this.element.querySelector(".chart-title"), panel.title);
    setText(this.element.querySelector(".chart-unit"), panel.unit);
    if (panel.fields.length > 1) this.#addLegend();
    this.sync = sync;
    this.onTime = onTime;
  }

  // Once the element is in the page, and again when the colours change.
  mount() {
    const place = this.element.querySelector(".chart-plot");
    this.#plot?.destroy();
    this.#plot = new uPlot(this.#options(place.clientWidth), [[], ...this.panel.fields.flatMap(() => [[], [], []])], place);
    this.#legend.forEach((item, index) => this.#show(index, item.getAttribute("aria-pressed") === "true"));
  }

  resize() {
    const width = this.element.querySelector(".chart-plot").clientWidth;
    if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
  }

  // Draws the last `seconds` before `now` of `source`. Returns how many seconds one point stands for; 0 for each its own.
  draw(source, value, now, seconds) {
    const { fields, unit, title } = this.panel;
    const { columns, gaps, point } = source.drawn(fields, now, seconds, Math.max(100, this.#plot.width));
    this.#gaps = gaps;
    this.#latest = value === null ? "–" : number(value);
    this.#showValue(this.#plot.cursor.idx ?? null);
    const plot = this.element.querySelector(".chart-plot");
    plot.ariaLabel = `${title}, last ${duration(seconds)}, now ${value === null ? "unknown" : number(value)} ${unit}. Press t for a table.`;
    this.#plot.batch(() => {
      this.#plot.setData(columns, false);
      this.#plot.setScale("x", { min: now - seconds, max: now });
    });
    return point;
  }

  // The newest value, or those under the cursor.
  #showValue(index) {
    const there = index === null ? [] : this.#plot.data.slice(1, 1 + this.panel.fields.length).map((values) => values[index]);
    const found = there.filter((value) => value !== null && value !== undefined);
    setText(this.element.querySelector(".chart-number"), found.length === 0 ? this.#latest : found.map(number).join(" · "));
    this.element.classList.toggle("chart-then", found.length > 0);
    if (index !== null) this.onTime?.(this.#plot.data[0][index]);
  }

  #addLegend() {
    const legend = this.element.querySelector(".legend");
    this.#legend = this.panel.labels.map((label, index) => {
      const item = document.createElement("button");
      item.type = "button";
      item.className = `legend-item series-${index + 1}`;
      item.textContent = label;
      item.setAttribute("aria-pressed", "true");
      item.addEventListener("click", () => this.#toggle(item, index));
      legend.append(item);
      return item;
    });
  }

  #toggle(item, index) {
    const show = item.getAttribute("aria-pressed") !== "true";
    item.setAttribute("aria-pressed", String(show));
    this.#show(index, show);
  }

  // The line of a field, with its band.
  #show(index, show) {
    for (const series of [1 + index, ...this.#edges(index)]) this.#plot.setSeries(series, { show });
  }

  // Where the lowest and the highest of a field stand among the series.
  #edges(index) {
    const low = 1 + this.panel.fields.length + 2 * index;
    return [low, low + 1];
  }

  #colour(name) {
    this.#colours.hidden = false;
    const colour = getComputedStyle(this.#colours)[name];
    this.#colours.hidden = true;
    return colour;
  }

  #seriesColour(index, css = "series-colour") {
    const probe = document.createElement("i");
    probe.className = `series-${index + 1} ${css}`;
    this.element.append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  }

  #options(width) {
    const muted = this.#colour("color");
    const line = this.#colour("borderTopColor");
    const shade = this.#colour("backgroundColor");
    const axis = { stroke: muted, font: FONT, ticks: { show: false }, grid: { stroke: line, width: 1 }, gap: 6 };
    return {
      width,
      height: HEIGHT,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: this.sync }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true, auto: false }, y: { range: (_, low, high) => this.#range(low, high) } },
      axes: [
        { ...axis, size: 24, space: 52, grid: { show: false }, values: (_, splits, __, ___, step) => splits.map((t) => timeFormat(t, step)(t * 1000)) },
        { ...axis, size: AXIS_PX, splits: () => ticks(this.#scale), values: (_, splits) => splits.map((value) => this.#tick(value)) },
      ],
      series: [
        {},
        ...this.panel.fields.map((name, index) => ({ label: name, stroke: this.#seriesColour(index), width: 1.5, points: { show: false } })),
        ...this.panel.fields.flatMap((name) => [name, name]).map((label) => ({ label, width: 0, points: { show: false } })),
      ],
      bands: this.panel.fields.map((_, index) => ({ series: this.#edges(index).reverse(), fill: this.#seriesColour(index, "series-band") })),
      hooks: {
        setCursor: [(plot) => this.#plot === plot && this.#showValue(plot.cursor.idx ?? null)],
        drawClear: [(plot) => this.#eachGap(plot, (left, width) => this.#shade(plot, shade, left, width))],
        draw: [(plot) => this.#eachGap(plot, (left, width) => this.#write(plot, shade, muted, left, width))],
      },
    };
  }

  #range(low, high) {
    this.#scale = scale(low, high, this.panel);
    return [this.#scale.low, this.#scale.high];
  }

  #tick(value) {
    if (Math.abs(value) >= 10_000) return COMPACT.format(value);
    return grouped(value.toFixed(decimalsOf(this.#scale.step)));
  }

  // Behind the lines: where nothing came.
  #shade(plot, colour, left, width) {
    plot.ctx.fillStyle = colour;
    plot.ctx.fillRect(left, plot.bbox.top, width, plot.bbox.height);
  }

  // Over them: that nothing came, where there is room to say so.
  #write(plot, shade, colour, left, width) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    const words = ctx.measureText(WORDS).width + 8 * ratio;
    if (width > words) {
      const [x, y] = [left + width / 2, bbox.top + bbox.height / 2];
      ctx.fillStyle = shade;
      ctx.fillRect(x - words / 2, y - 8 * ratio, words, 16 * ratio);
      ctx.fillStyle = colour;
      ctx.fillText(WORDS, x, y);
    }
    ctx.restore();
  }

  #eachGap(plot, act) {
    const { bbox } = plot;
    for (const [from, to] of this.#gaps) {
      const left = Math.max(bbox.left, plot.valToPos(from, "x", true));
      const right = Math.min(bbox.left + bbox.width, plot.valToPos(to, "x", true));
      if (right > left) act(left, right - left);
    }
  }
}

// Where a day begins the axis says which.
function timeFormat(time, step) {
  if (step >= HOUR && new Date(time * 1000).getHours() === 0) return dayOnly;
  return step < 60 ? clockSeconds : clock;
}
