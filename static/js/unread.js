// What is read, what is new. Pure: the page tells what comes and whether somebody looks.

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

export function titleOf(title, count) {
  return count > 0 ? `(${count > 99 ? "99+" : count}) ${title}` : title;
}
