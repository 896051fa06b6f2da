// What waits to be sent, in order, one after another. Each item keeps its idempotency key until the server has confirmed it, also over a
// reload: a retry can never store it twice. Pure but for what it is given: a store, a way to publish, timers.

import { sentence } from "./words.js";

// Codes below 100 are the client's own: the connection went away, nobody knows the outcome.
const isTransport = (error) => !(error?.code >= 100);
const RETRY_MS = 2000;
const MAX_RETRY_MS = 20_000;

export class SendQueue {
  #items = [];
  #busy = false;
  #open = false;
  #timer = null;
  #store;
  #publish;
  #changed;
  #timers;

  // changed(item) after every change of state; an item that is gone has state "sent" or "deleted".
  constructor({ store, publish, changed, timers = globalThis }) {
    this.#store = store;
    this.#publish = publish;
    this.#changed = changed;
    this.#timers = timers;
  }

  // What an earlier life of the page left behind. What was under way then is sent again.
  restore() {
    for (const kept of this.#store.load()) {
      this.#items.push({ ...kept, state: kept.state === "failed" ? "failed" : "queued", tries: 0 });
    }
    return this.#items;
  }

  add({ key, text, created }) {
    const item = { key, text, created, state: "queued", reason: "", tries: 0 };
    this.#items.push(item);
    this.#store.save(item);
    this.#changed(item);
    this.#pump();
    return item;
  }

  retry(key) {
    const item = this.#find(key);
    if (item?.state !== "failed") return;
    this.#move(item, "queued");
    this.#pump();
  }

  delete(key) {
    const item = this.#find(key);
    if (item === undefined || item.state === "sending") return;
    this.#drop(item);
    this.#move(item, "deleted");
  }

  // The connection is there, or is gone.
  open() {
    this.#open = true;
    this.#pump();
  }

  close() {
    this.#open = false;
    this.#timers.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #find(key) {
    return this.#items.find((item) => item.key === key);
  }

  async #pump() {
    if (this.#busy || !this.#open || this.#timer !== null) return;
    const item = this.#items.find((candidate) => candidate.state === "queued");
    if (item === undefined) return;
    this.#busy = true;
    await this.#send(item);
    this.#busy = false;
    this.#pump();
  }

  async #send(item) {
    this.#move(item, "sending");
    try {
      const { offset } = await this.#publish(item);
      item.offset = offset;
      this.#drop(item);
      this.#move(item, "sent");
    } catch (error) {
      this.#failed(item, error);
    }
  }

  #failed(item, error) {
    if (isTransport(error)) {
      // Sent again when the connection is back.
      this.#open = false;
      this.#move(item, "queued");
    } else if (error.temporary || error.code === 111 || error.code === 100) {
      item.tries += 1;
      const delay = Math.min(RETRY_MS * 2 ** (item.tries - 1), MAX_RETRY_MS);
      this.#timer = this.#timers.setTimeout(() => this.#resume(), delay);
      this.#move(item, "queued", `${sentence(error)} Sending again in ${delay / 1000} s.`);
    } else {
      this.#move(item, "failed", sentence(error));
    }
  }

  #resume() {
    this.#timer = null;
    this.#pump();
  }

  #move(item, state, reason = "") {
    item.state = state;
    item.reason = reason;
    if (state === "failed" || state === "queued") this.#store.save(item);
    this.#changed(item);
  }

  #drop(item) {
    this.#items = this.#items.filter((candidate) => candidate !== item);
    this.#store.remove(item);
  }
}
