// What is read, what is new. Pure: the page tells what comes and whether somebody looks.

import { badge } from "./words.js";

export class Unread {
  // Offset up to which the reader has seen everything.
  readUpTo;
  // Records of others after it.
  count = 0;

  constructor(marker, head) {
    this.readUpTo = marker;
    this.head = head;
  }

  arrived(offset, own) {
    if (offset <= this.head) return;
    this.head = offset;
    if (!own) this.count += 1;
  }

  // The reader looks at the newest record. Returns the offset to tell the server, or null when it knows already.
  seen() {
    this.count = 0;
    if (this.readUpTo >= this.head) return null;
    this.readUpTo = this.head;
    return this.head;
  }
}

export const titleOf = (title, count) => (count > 0 ? `(${badge(count)}) ${title}` : title);
