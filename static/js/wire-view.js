// Rows into the list of the wire, by key: an element that stays the same row stays the same element.

import { clone, setText } from "./page.js";
import { grouped } from "./words.js";

export class WireView {
  #list;
  // Key → element, and what each element shows.
  #elements = new Map();
  #shown = new WeakMap();

  constructor(list) {
    this.#list = list;
    for (const element of list.children) this.#elements.set(element.dataset.key, element);
  }

  element(key) {
    return this.#elements.get(key);
  }

  render(rows) {
    this.#removeAllBut(new Set(rows.map((row) => row.key)));
    let place = this.#list.firstElementChild;
    for (const row of rows) {
      const element = this.#elements.get(row.key) ?? this.#create(row);
      if (element === place) place = place.nextElementSibling;
      else this.#list.insertBefore(element, place);
      this.#fill(element, row);
    }
  }

  #removeAllBut(wanted) {
    for (const [key, element] of this.#elements) {
      if (wanted.has(key)) continue;
      element.remove();
      this.#elements.delete(key);
    }
  }

  #create(row) {
    const element = clone(`wire-${row.type}`);
    element.dataset.key = row.key;
    this.#elements.set(row.key, element);
    return element;
  }

  #fill(element, row) {
    const shows = JSON.stringify(row);
    if (this.#shown.get(element) === shows) return;
    this.#shown.set(element, shows);
    FILL[row.type](element, row);
  }
}

const FILL = {
  day: (element, row) => setText(element, row.label),
  new: () => {},
  gap: (element, row) => setText(element.firstElementChild, row.text),
  record: fillRecord,
};

function fillRecord(element, row) {
  const stored = row.state === "stored";
  element.id = row.offset > 0 ? `o${row.offset}` : "";
  element.classList.toggle("wire-joined", row.joined);
  element.classList.toggle("wire-own", row.own);
  element.classList.toggle("wire-pending", !stored);
  element.classList.toggle("wire-failed", row.state === "failed");
  fillOffset(element.querySelector(".wire-offset"), row.offset);
  setText(element.querySelector(".wire-name"), row.name);
  const time = element.querySelector(".wire-time");
  time.hidden = !stored;
  time.dateTime = new Date(row.time).toISOString();
  time.title = row.absolute;
  setText(time, row.clock);
  setText(element.querySelector(".wire-note"), row.note);
  const text = element.querySelector(".wire-text, .wire-data");
  text.className = row.css;
  setText(text, row.text);
  fillActions(element, row.state === "failed");
}

function fillOffset(link, offset) {
  setText(link, offset > 0 ? grouped(offset) : "–");
  if (offset > 0) link.href = `#o${offset}`;
  else link.removeAttribute("href");
}

function fillActions(element, failed) {
  const actions = element.querySelector(".wire-actions");
  if (failed && actions === null) element.append(clone("wire-actions"));
  else if (!failed) actions?.remove();
}
