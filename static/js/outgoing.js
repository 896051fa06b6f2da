// What is written here, on its way into the stream: the queue, and the rows of the feed that show it.

import { byId, setText } from "./page.js";
import { QueueStore } from "./queue-store.js";
import { SendQueue } from "./send-queue.js";

export class Outgoing {
  #feed;
  #queue;

  constructor(page, feed, client) {
    this.#feed = feed;
    const publish = async ({ key, text }) => {
      const { data } = await client.rpc("publish", { stream: page.stream, data: { text }, idempotency_key: key });
      return data;
    };
    this.#queue = new SendQueue({ store: new QueueStore(page.principal, page.stream), publish, changed: (item) => this.#changed(item) });
    for (const item of this.#queue.restore()) feed.model.write(shown(item));
  }

  write(text) {
    const item = { key: newKey(), text, created: Date.now() };
    this.#feed.model.write(shown({ ...item, state: "queued", reason: "" }));
    this.#queue.add(item);
  }

  // In order, once the stream is live: what is written now comes after what was there.
  follow(live) {
    if (live) this.#queue.open();
    else this.#queue.close();
  }

  retry(key) {
    this.#queue.retry(key);
  }

  delete(key) {
    this.#queue.delete(key);
  }

  text(key) {
    return this.#feed.model.find(key)?.text ?? "";
  }

  #changed(item) {
    const { model } = this.#feed;
    if (item.state === "sent") model.settle(item.key, item.offset);
    else if (item.state === "deleted") model.discard(item.key);
    else Object.assign(model.find(item.key) ?? {}, { state: item.state, reason: item.reason });
    if (item.state === "failed") setText(byId("alarm"), `Not sent. ${item.reason}`);
    this.#feed.paint();
  }
}

const shown = ({ key, text, created, state, reason }) => ({ key, text, created, state, reason });

// crypto.randomUUID is missing on plain http, but for localhost.
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
