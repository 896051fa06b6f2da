// The list of who is here, from presence, joins and leaves.

import { byId, setText } from "./page.js";
import { PresenceModel } from "./presence-model.js";

const TICK_MS = 5000;
// Joins and leaves are told at most once; one that was lost is made good by asking.
const REFRESH_MS = 30_000;

export class PresenceView {
  #model;
  #subscription;
  #learn;

  constructor(page, subscription, learn) {
    this.#model = new PresenceModel(page.principal);
    this.#subscription = subscription;
    this.#learn = learn;
    setInterval(() => this.#show(), TICK_MS);
    setInterval(() => document.hidden || this.refresh(), REFRESH_MS);
  }

  // After each subscribe: joins and leaves of the time away are not told.
  async refresh() {
    try {
      const { clients } = await this.#subscription.presence();
      this.#model.sync(clients, Date.now());
      this.#show();
    } catch {
      // The list stays as it was; the next subscribe asks again.
    }
  }

  join(info) {
    this.#model.join(info);
    this.#show();
  }

  leave(info) {
    this.#model.leave(info, Date.now());
    this.#show();
  }

  #show() {
    const people = this.#model.people(Date.now());
    if (people.length === 0) return;
    const here = people.filter((person) => !person.leaving).length;
    setText(byId("presence-count"), ` · ${here}`);
    const list = byId("people");
    people.forEach((person, index) => fill(list.children[index] ?? list.appendChild(create(list)), person));
    while (list.children.length > people.length) list.lastElementChild.remove();
    for (const { user, name } of people) this.#learn(user, name);
  }
}

// The row that came with the page is the pattern.
function create(list) {
  return list.firstElementChild.cloneNode(true);
}

function fill(row, { name, you, leaving }) {
  row.classList.toggle("person-leaving", leaving);
  row.querySelector(".dot").dataset.tone = leaving ? "warn" : "good";
  setText(row.querySelector(".person-name"), name);
  row.querySelector(".person-name").title = name;
  setText(row.querySelector(".person-note"), leaving ? "reconnecting" : you ? "you" : "");
}
