// The reader of a feed: what they have seen, what the tab's title and the announcer say, where the line before what is new stands.

import { byId, setText } from "./page.js";
import { markRead } from "./streams.js";
import { throttle } from "./throttle.js";
import { Unread, titleOf } from "./unread.js";
import { badge } from "./words.js";

const MARK_MS = 2000;
const ANNOUNCE_MS = 5000;

export class Reader {
  #page;
  #feed;
  #unread;
  #title = document.title;
  // Arrived since the announcer last spoke.
  #fresh = 0;
  #mark;
  #announce = throttle(() => this.#speak(), ANNOUNCE_MS);

  constructor(page, feed) {
    this.#page = page;
    this.#feed = feed;
    this.#unread = new Unread(page.marker, page.head);
    this.#mark = throttle((offset) => this.#tell(offset), MARK_MS);
    byId("feed-scroll").addEventListener("scroll", () => this.look(), { passive: true });
    window.addEventListener("focus", () => this.look());
    window.addEventListener("blur", () => this.#away());
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#away() : this.look()));
  }

  arrived(record) {
    const own = record.user !== "" && record.user === this.#page.principal;
    if (!record.passing) this.#unread.arrived(record.offset, own);
    if (own) return;
    this.#fresh += 1;
    this.#announce();
  }

  // Called after each paint, each scroll, and when somebody comes back.
  look() {
    if (this.#feed.atEnd && !this.#feed.held && document.hasFocus() && !document.hidden) {
      const offset = this.#unread.seen();
      if (offset !== null) this.#mark(offset);
    }
    this.#show();
  }

  // Everything is read now: the line goes.
  clear() {
    this.#feed.model.newAfter = this.#unread.head;
    this.#feed.paint();
  }

  // What comes while nobody looks is new to them.
  #away() {
    if (this.#unread.readUpTo >= this.#unread.head && this.#unread.head > 0) this.#feed.model.newAfter = this.#unread.head;
  }

  #show() {
    const title = titleOf(this.#title, this.#unread.count);
    if (document.title !== title) document.title = title;
    const pill = byId("newest");
    pill.hidden = this.#feed.atEnd;
    setText(pill.querySelector("span"), this.#unread.count > 0 ? `${badge(this.#unread.count)} new` : "Newest");
  }

  #speak() {
    if (this.#fresh === 0) return;
    setText(byId("announcer"), `${this.#fresh} new in ${this.#page.title}`);
    this.#fresh = 0;
  }

  async #tell(offset) {
    if (this.#page.principal === "") return;
    try {
      await markRead(this.#page.stream, offset);
    } catch {
      // Told again with the next record that is read; until then it counts as unread elsewhere.
      this.#unread.readUpTo = Math.min(this.#unread.readUpTo, offset - 1);
    }
  }
}
