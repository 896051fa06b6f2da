// The records that the feed holds: a window on the stream, at most `cap` of them, in offset order, and what the reader has written that
// is not in the stream yet. Pure. Order comes from offsets only, never from clocks or from the order of arrival.

export const CAP = 500;

export class FeedModel {
  records = [];
  // { key, text, created, state: queued | sending | sent | failed, reason, offset }, in the order written.
  pending = [];
  // Whether the window ends at the head, so that live records belong in it.
  following = true;

  constructor({ head = 0, tail = 1, marker = 0, principal = "", cap = CAP } = {}) {
    this.head = head;
    this.tail = tail;
    this.principal = principal;
    this.cap = cap;
    // Records after this one are new to the reader; 0: draw no line.
    this.newAfter = marker;
    // The id of this connection, by which an echo that overtakes its reply is known.
    this.client = "";
  }

  get first() {
    return this.records[0]?.offset ?? this.head + 1;
  }

  get last() {
    return this.records.at(-1)?.offset ?? 0;
  }

  get reachesStart() {
    return this.first <= this.tail;
  }

  // The newest records, as the page or a jump brings them.
  reset(page, head) {
    this.records = [];
    this.head = Math.max(head, page.at(-1)?.offset ?? 0);
    this.#merge(page);
    this.following = this.last === this.head || page.length === 0;
  }

  // A live record. `atEnd`: the reader looks at the end, so the oldest may go. Returns whether the window has it now.
  append(record, atEnd) {
    this.head = Math.max(this.head, record.offset);
    this.#adopt(record);
    this.#redact(record);
    if (!this.following || record.offset <= this.last) return false;
    if (!atEnd && this.records.length >= this.cap) {
      this.following = false;
      return false;
    }
    this.records.push(record);
    if (this.records.length > this.cap) this.records.splice(0, this.records.length - this.cap);
    return true;
  }

  // Older records, above. What is too many goes at the other end, which is then no longer the head.
  prepend(page) {
    this.#merge(page);
    if (this.records.length > this.cap) {
      this.records.length = this.cap;
      this.following = this.last === this.head;
    }
  }

  // Newer records, below, or those of a gap.
  extend(page, head) {
    this.head = Math.max(this.head, head);
    this.#merge(page);
    if (this.records.length > this.cap) this.records.splice(0, this.records.length - this.cap);
    this.following = this.last === this.head;
  }

  // Keep what is here, and stop taking live records: they wait in the stream.
  hold() {
    this.following = false;
  }

  // Take live records again.
  follow() {
    this.following = true;
  }

  #merge(page) {
    const known = new Set(this.records.map((record) => record.offset));
    const fresh = page.filter((record) => !known.has(record.offset));
    for (const record of fresh) this.#adopt(record);
    this.records = [...this.records, ...fresh].sort((a, b) => a.offset - b.offset);
    for (const record of fresh) this.#redact(record);
  }

  // Another record may take the payload of one that is shown away.
  #redact({ tags }) {
    const gone = this.records.find((record) => String(record.offset) === tags?.redacts);
    if (gone !== undefined) gone.data = null;
  }

  // What was written here

  write(item) {
    this.pending.push(item);
  }

  find(key) {
    return this.pending.find((item) => item.key === key);
  }

  discard(key) {
    this.pending = this.pending.filter((item) => item.key !== key);
  }

  // The server has it, at `offset`. It stands in its place once the stream has come to it.
  settle(key, offset) {
    const item = this.find(key);
    if (item === undefined) return;
    item.state = "sent";
    item.offset = offset;
    // Seen before the answer (a retry), or passed by while the window was elsewhere.
    if (offset <= this.head) this.discard(key);
  }

  // The element that showed what was written goes on to show the record.
  #adopt(record) {
    const item = this.pending.find((candidate) => candidate.offset === record.offset) ?? this.#inFlight(record);
    if (item === undefined) return;
    record.element = item.key;
    this.discard(item.key);
  }

  #inFlight(record) {
    if (record.client === "" || record.client !== this.client) return undefined;
    return this.pending.find((item) => item.state === "sending" && item.offset === undefined);
  }
}
