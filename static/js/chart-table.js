// The chart as a table: the newest records as numbers, for who cannot see lines, and for exact reading.

import { setText } from "./page.js";
import { clockSeconds } from "./times.js";
import { exact } from "./words.js";

const ROWS = 30;
const FIELDS = 10;
const DRAW_MS = 250;

export class ChartTable {
  shown = false;
  #place;
  #table;
  #drawnAt = 0;

  constructor(place) {
    this.#place = place;
    this.#table = place.querySelector("table");
  }

  toggle() {
    this.shown = !this.shown;
    this.#place.classList.toggle("table-shown", this.shown);
    this.#table.hidden = false;
    this.#drawnAt = 0;
  }

  draw(buffer) {
    if (performance.now() - this.#drawnAt < DRAW_MS) return;
    this.#drawnAt = performance.now();
    const fields = buffer.fields.slice(0, FIELDS);
    this.#fill(this.#table.tHead.rows[0], ["Time", ...fields], "th");
    const newest = Array.from({ length: Math.min(ROWS, buffer.size) }, (_, back) => buffer.size - 1 - back);
    const body = this.#table.tBodies[0];
    newest.forEach((index, row) => {
      const cells = fields.map((name) => buffer.columns.get(name)[index]);
      const words = cells.map((value) => (value === null ? "" : exact(value)));
      this.#fill(body.rows[row] ?? body.insertRow(), [clockSeconds(buffer.times[index] * 1000), ...words], "td");
    });
    while (body.rows.length > newest.length) body.deleteRow(-1);
  }

  #fill(row, texts, tag) {
    texts.forEach((text, index) => setText(row.cells[index] ?? row.appendChild(document.createElement(tag)), text));
    while (row.cells.length > texts.length) row.deleteCell(-1);
  }
}
