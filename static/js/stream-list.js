// The rows of the list of streams, kept up to date in place. Rows do not move while the pointer or the focus is among them.

import { byId, clone, setText } from "./page.js";
import { POINTS, firstNumber, polyline } from "./sparkline.js";
import { belongs, isSilent, matches } from "./stream-order.js";
import { absolute } from "./times.js";
import { age, badge, streamUrl, summary } from "./words.js";

export class StreamList {
  #page;
  #place = byId("streams");
  #names;
  #rows = [];
  #elements = new Map();
  // Stream → the values of its sparkline, and the head they reach to.
  #series = new Map();
  #mine;

  constructor(page, sparks, names) {
    this.#page = page;
    this.#names = names;
    const elements = [...this.#place.querySelectorAll(".row")];
    this.#mine = new Set(elements.filter((element) => element.dataset.mine).map((element) => element.dataset.stream));
    for (const element of elements) this.#elements.set(element.dataset.stream, element);
    for (const [name, points] of Object.entries(sparks)) {
      this.#series.set(name, { points, head: Number(this.#elements.get(name)?.dataset.head) });
    }
  }

  update(rows) {
    const { filter = "", query = "" } = this.#page.main.dataset;
    const now = Date.now();
    const all = rows.map((row) => ({ ...row, mine: this.#mine.has(row.name) }));
    this.#rows = all.filter((row) => belongs(row, filter, now) && matches(row, query));
    this.#count("unread", all.filter((row) => row.unread > 0).length);
    this.#count("silent", all.filter((row) => isSilent(row, now)).length);
    for (const row of this.#rows) this.#extend(row);
    this.show();
  }

  show() {
    const shown = new Set(this.#rows.map((row) => row.name));
    const moving = this.#place.matches(":hover") || this.#place.contains(document.activeElement);
    for (const [name, element] of this.#elements) if (!shown.has(name)) this.#remove(name, element);
    for (const row of this.#rows) this.#fill(this.#elements.get(row.name) ?? this.#create(row), row);
    for (const section of this.#place.children) this.#arrange(section, moving);
    setText(byId("stream-count"), String(this.#rows.length));
    byId("empty").hidden = this.#rows.length > 0;
  }

  // Ages go on between answers.
  tick() {
    for (const row of this.#rows) this.#fillAge(this.#elements.get(row.name), row);
  }

  #fillAge(element, row) {
    const now = Date.now();
    const silent = isSilent(row, now);
    element.classList.toggle("row-silent", silent);
    setText(element.querySelector(".row-age"), `${silent && row.time > 0 ? "silent " : ""}${age(row.time, now)}`);
  }

  #count(name, count) {
    const element = document.querySelector(`[data-count="${name}"]`);
    if (element !== null) setText(element, count > 0 ? String(count) : "");
  }

  #remove(name, element) {
    element.remove();
    this.#elements.delete(name);
  }

  #create(row) {
    const element = clone("row");
    element.dataset.stream = row.name;
    const link = element.querySelector(".row-link");
    link.href = streamUrl(row.name);
    setText(link, row.title);
    setText(element.querySelector(".row-slug"), row.name);
    const use = element.querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/u, `#${row.kind}`));
    this.#elements.set(row.name, element);
    return element;
  }

  #arrange(section, moving) {
    const list = section.querySelector(".rows");
    const wanted = this.#rows.filter((row) => row.people === (section.dataset.section === "people")).map((row) => this.#elements.get(row.name));
    section.hidden = wanted.length === 0;
    const settled = wanted.every((element) => element.parentElement === list);
    if (moving && settled) return;
    wanted.forEach((element, index) => list.children[index] !== element && list.insertBefore(element, list.children[index] ?? null));
  }

  #fill(element, row) {
    const unread = element.querySelector(".badge");
    unread.hidden = row.unread === 0;
    setText(unread, badge(row.unread));
    unread.ariaLabel = `${row.unread} unread`;
    const [who, words] = element.querySelector(".row-last").children;
    setText(who, row.last !== null && row.people ? this.#who(row.last.publisher) : "");
    setText(words, row.last === null ? "no records yet" : summary(row.kind, row.last.data));
    setText(element.querySelector(".row-here"), row.presence > 0 ? `${row.presence} here` : "");
    element.querySelector(".row-age").title = row.time > 0 ? absolute(row.time) : "";
    this.#fillAge(element, row);
    const line = element.querySelector("polyline");
    line.setAttribute("points", polyline(this.#series.get(row.name)?.points ?? []));
  }

  #who(publisher) {
    return publisher !== "" && publisher === this.#page.principal ? "You" : this.#names.get(publisher);
  }

  #extend(row) {
    const value = row.kind === "chart" ? firstNumber(row.last?.data) : null;
    const series = this.#series.get(row.name) ?? { points: [], head: 0 };
    if (value === null || series.head === row.head) return;
    this.#series.set(row.name, { points: [...series.points, value].slice(-POINTS), head: row.head });
  }
}
