// The chart: numbers of the last minutes from history, of a longer time from the sums of the server, then live; panels as there are fields.

import { ChartBuffer, MAX_POINTS, gapsOf } from "./chart-buffer.js";
import { panelsOf } from "./chart-fields.js";
import { ChartPanel } from "./chart-panel.js";
import { ChartPast } from "./chart-past.js";
import { ChartTable } from "./chart-table.js";
import { History } from "./history.js";
import { byId, setText } from "./page.js";
import { painter } from "./paint.js";
import { clockSeconds, dateAndClock } from "./times.js";
import { age, duration, grouped } from "./words.js";

const PAINT_MS = 100;
const PAGE = 300;
// The longest window that is drawn record by record.
const RECORDS_SECONDS = 15 * 60;
const KEEP_SECONDS = RECORDS_SECONDS + 60;
// A stream of hundreds a second would load for minutes.
const MAX_PAGES = 40;

export class Chart {
  seconds = 300;
  held = false;
  #buffer = new ChartBuffer(KEEP_SECONDS);
  #panels = [];
  #table = new ChartTable(byId("table"));
  #past;
  // What is drawn: single records, or the sums of a time too long for them.
  #source = this.#buffer;
  // What came while the chart was held.
  #waiting = [];
  #history;
  #seeding = false;
  // How far the clock of this browser is ahead of the server's: the smallest delay seen.
  #ahead = Infinity;
  #head;
  #heldAt = 0;
  // Whether the cursor stands on a chart, as the last paint found it.
  #pointed = false;

  constructor(page, records, { client, subscription }) {
    this.#history = new History(subscription, page.epoch);
    this.#past = new ChartPast(client, page.stream, () => this.paint());
    this.#head = page.head;
    this.tail = page.tail;
    this.#buffer.append(records);
    this.#layOut();
    this.paint = painter(() => this.#paint(), () => PAINT_MS);
    new ResizeObserver(() => this.#resize()).observe(byId("charts"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
    document.addEventListener("wirelog:theme", () => this.recolour());
    // The window moves on when nothing comes.
    setInterval(() => this.paint(), 1000);
  }

  add(record) {
    if (this.held) {
      this.#waiting.push(record);
      if (this.#waiting.length > MAX_POINTS) this.#waiting.shift();
      return;
    }
    if (!record.passing) this.#head = record.offset;
    this.#ahead = Math.min(this.#ahead, Date.now() - record.time);
    if (this.#buffer.append([record])) this.#layOut();
    this.paint();
  }

  async restart({ epoch }) {
    this.#history.epoch = epoch;
    const { page, head } = await this.#history.newest(PAGE);
    this.#buffer.clear();
    this.#past.forget();
    this.#head = head;
    this.#buffer.append(page);
    this.#layOut();
    await this.seed();
  }

  show(minutes) {
    this.seconds = minutes * 60;
    this.seed();
    this.paint();
  }

  get now() {
    if (this.held) return this.#heldAt;
    const ahead = Number.isFinite(this.#ahead) ? this.#ahead : 0;
    return Math.max((Date.now() - ahead) / 1000, this.#buffer.times.at(-1) ?? 0);
  }

  hold(held) {
    if (held) this.#heldAt = this.now;
    this.held = held;
    if (!held) for (const record of this.#waiting.splice(0)) this.add(record);
    this.paint();
  }

  // Older pages until the window is full.
  async seed() {
    if (this.#seeding) return;
    this.#seeding = true;
    try {
      for (let pages = 0; pages < MAX_PAGES && this.#wantsOlder(); pages += 1) {
        const page = await this.#history.before(this.#buffer.first, PAGE);
        if (page.length === 0) this.tail = this.#buffer.first;
        if (this.#buffer.prepend(page)) this.#layOut();
        this.paint();
      }
    } catch {
      // What is here is drawn; the next subscribe or another window asks again.
    }
    this.#seeding = false;
  }

  #wantsOlder() {
    return this.#buffer.size > 0 && this.#buffer.first > this.tail && this.#buffer.times[0] > this.now - Math.min(this.seconds, RECORDS_SECONDS);
  }

  toggleTable() {
    this.#table.toggle();
    this.#hideCharts();
    byId("chart-note").hidden = this.#table.shown;
    byId("table-toggle").setAttribute("aria-pressed", String(this.#table.shown));
    this.#resize();
    this.paint();
  }

  recolour() {
    for (const panel of this.#panels) panel.mount();
    this.paint();
  }

  get #long() {
    return this.seconds > RECORDS_SECONDS;
  }

  #choose(now) {
    const source = (this.#long && this.#past.of(this.seconds, now)) || this.#buffer;
    if (source === this.#source) return;
    this.#source = source;
    this.#layOut();
  }

  // In the order of the records. Of a time without a number those of the records tell what there could be.
  get #fields() {
    const { fields } = this.#source;
    const known = this.#buffer.fields.filter((name) => fields.length === 0 || fields.includes(name));
    return [...new Set([...known, ...fields])];
  }

  #layOut() {
    const wanted = panelsOf(this.#fields);
    const key = ({ fields }) => fields.join();
    const known = new Map(this.#panels.map((panel) => [key(panel.panel), panel]));
    if (wanted.length === known.size && wanted.every((panel) => known.has(key(panel)))) return;
    this.#panels = wanted.map((panel) => known.get(key(panel)) ?? new ChartPanel(panel, "wirelog", (time) => this.#pointAt(time)));
    byId("charts").replaceChildren(...this.#panels.map((panel) => panel.element));
    this.#hideCharts();
    for (const panel of this.#panels) if (!known.has(key(panel.panel))) panel.mount();
    byId("chart-empty").hidden = this.#panels.length > 0;
  }

  #hideCharts() {
    byId("charts").hidden = this.#table.shown || this.#panels.length === 0;
  }

  #resize() {
    if (byId("charts").hidden) return;
    for (const panel of this.#panels) panel.resize();
    this.paint();
  }

  // Where the cursor is, in words; until the next paint without one.
  #pointAt(time) {
    setText(byId("chart-where"), `at ${(this.#long ? dateAndClock : clockSeconds)(time * 1000)}`);
    byId("chart-where").classList.remove("chart-silent");
    this.#pointed = true;
  }

  #paint() {
    const { now } = this;
    this.#pointed = false;
    if (this.#table.shown) this.#table.draw(this.#buffer);
    else {
      this.#choose(now);
      const points = this.#panels.map((panel) => panel.draw(this.#source, this.#buffer.latest(panel.panel.fields[0]), now, this.seconds));
      setText(byId("chart-note"), this.#note(Math.max(0, ...points)));
    }
    this.#showWhere(now);
  }

  #note(point) {
    if (this.#long && this.#past.trouble !== "") return this.#past.trouble;
    if (point === 0) return "";
    if (this.#source === this.#buffer) return `1 point = ${point.toFixed(point < 1 ? 1 : 0)} s, lowest and highest`;
    return `1 point = ${duration(point)} · mean, lowest to highest`;
  }

  #showWhere(now) {
    const where = byId("chart-where");
    const at = this.#buffer.times.at(-1);
    if (at === undefined || this.#pointed) return;
    const silent = gapsOf([at], now, this.#buffer.interval).length > 0;
    where.classList.toggle("chart-silent", silent);
    byId("charts").classList.toggle("charts-silent", silent);
    const word = silent ? `no records for ${age(at * 1000, now * 1000)}` : clockSeconds(at * 1000);
    setText(where, this.#head > 0 ? `${word} · offset ${grouped(this.#head)}` : word);
  }
}
