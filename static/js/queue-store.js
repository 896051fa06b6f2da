// The send queue in localStorage: one entry for each item, so that two tabs of one stream do not overwrite each other.

import { keys, read, remove, write } from "./storage.js";

export class QueueStore {
  #prefix;

  constructor(principal, stream) {
    this.#prefix = `wirelog.queue.${principal}.${stream}.`;
  }

  load() {
    const found = keys(this.#prefix).map((key) => parse(read(key)));
    return found.filter((item) => item !== null).sort((a, b) => a.created - b.created);
  }

  save({ key, text, created, state, reason }) {
    write(this.#prefix + key, JSON.stringify({ key, text, created, state, reason }));
  }

  remove({ key }) {
    remove(this.#prefix + key);
  }
}

function parse(text) {
  try {
    const item = JSON.parse(text);
    return typeof item?.key === "string" && typeof item.text === "string" ? item : null;
  } catch {
    return null;
  }
}
