// The feed: its window on the stream, kept in step with the subscription, and drawn at most once a frame.

import { FeedModel } from "./feed-model.js";
import { rowsOf } from "./feed-rows.js";
import { FeedScroll } from "./feed-scroll.js";
import { showTop } from "./feed-top.js";
import { History } from "./history.js";
import { byId } from "./page.js";
import { painter } from "./paint.js";
import { WireView } from "./wire-view.js";

const PAGE = 50;
const MAX_PAGE = 300;
// Older records are loaded before the reader comes to the end of what is here.
const AHEAD_PX = 600;
// Thousands of records on their way: nobody reads them as they fly by, so most of the time goes into taking them in.
const HURRIED_MS = 400;

export class Feed {
  #view;
  #history;
  #names;
  // What loads now: "older", "newer" or a gap; one at a time each.
  #loading = new Set();
  // Whether the last load failed; then the reader says when to try again.
  #trouble = false;

  hurried = false;

  constructor(page, records, subscription) {
    this.model = new FeedModel(page);
    this.model.reset(records, page.head);
    this.scroll = new FeedScroll(byId("feed-scroll"), byId("feed"));
    this.paint = painter(() => this.#paint(), () => (this.hurried ? HURRIED_MS : 0));
    this.#view = new WireView(byId("feed"));
    this.#history = new History(subscription, page.epoch);
    this.#watch();
  }

  useNames(names) {
    this.#names = names;
    this.paint();
  }

  get epoch() {
    return this.#history.epoch;
  }

  get atEnd() {
    return this.model.following && this.scroll.atEnd;
  }

  add(record) {
    this.model.append(record, this.scroll.atEnd);
    this.paint();
  }

  // The stream could not be resumed from where the page was: start again from its end.
  async restart({ epoch, offset }) {
    this.#history.epoch = epoch;
    this.model.tail = 1;
    this.model.reset([], offset);
    await this.loadOlder();
  }

  // The records around `offset`.
  async goTo(offset) {
    await this.#load("newer", async () => {
      const { page, head } = await this.#history.after(Math.max(0, offset - PAGE / 2), PAGE);
      this.model.reset(page, head);
    });
    this.#paint();
    const element = this.#view.element(String(offset));
    element?.classList.add("wire-found");
    element?.scrollIntoView({ block: "center" });
  }

  // The subscription is there again: what could not be loaded without it can be now.
  again() {
    this.#trouble = false;
    this.paint();
  }

  // The newest records, whatever lies between.
  async toNewest() {
    if (!this.model.following) {
      await this.#load("newer", async () => {
        const { page, head } = await this.#history.newest(PAGE);
        this.model.reset(page, head);
      });
    }
    this.#paint();
    this.scroll.toEnd();
  }

  // After a pause: what came meanwhile, if that is a page; else its end, and a gap that can be loaded.
  async catchUp() {
    await this.#load("newer", async () => {
      const missed = this.model.head - this.model.last;
      if (missed > MAX_PAGE) {
        const { page, head } = await this.#history.newest(PAGE);
        this.model.extend(page, head);
      }
      await this.#follow();
    });
  }

  // A record that is told while an empty page is on its way is in the next one; a stream that stores nothing has only empty pages.
  async #follow() {
    for (let empty = 0; !this.model.following && empty < 2; ) {
      const { page, head } = await this.#history.after(this.model.last, MAX_PAGE);
      this.model.extend(page, head);
      if (page.length === 0) empty += 1;
    }
    this.model.follow();
  }

  async loadOlder() {
    if (this.model.reachesStart) return;
    await this.#load("older", async () => {
      const page = await this.#history.before(this.model.first, PAGE);
      if (page.length === 0) this.model.tail = this.model.first;
      this.model.prepend(page);
    });
  }

  async loadNewer() {
    if (this.model.following) return;
    await this.#load("newer", async () => {
      const { page, head } = await this.#history.after(this.model.last, PAGE);
      this.model.extend(page, head);
    });
  }

  async loadGap(after) {
    await this.#load(`gap ${after}`, async () => {
      const { page, head } = await this.#history.after(after, MAX_PAGE);
      this.model.extend(page, head);
    });
  }

  async #load(what, work) {
    if (this.#loading.has(what)) return;
    this.#loading.add(what);
    this.#showTop();
    try {
      await work();
      this.#trouble = false;
    } catch {
      this.#trouble = true;
    }
    this.#loading.delete(what);
    this.paint();
  }

  #watch() {
    const root = byId("feed-scroll");
    const observe = (element, load) =>
      new IntersectionObserver(([entry]) => entry.isIntersecting && load(), { root, rootMargin: `${AHEAD_PX}px 0px` }).observe(element);
    observe(byId("feed-top"), () => this.loadOlder());
    observe(byId("wire-end"), () => !this.held && this.loadNewer());
  }

  // While paused nothing is drawn.
  held = false;

  #paint() {
    if (this.held || this.#names === undefined) return;
    this.scroll.keep(() => this.#view.render(rowsOf(this.model, this.#names.get, Date.now())));
    this.#showTop();
    this.onPaint?.();
    // The top may be in sight still: the observer tells only of changes.
    if (this.#topInSight()) this.loadOlder();
  }

  #topInSight() {
    return !this.#trouble && byId("feed-top").getBoundingClientRect().bottom > byId("feed-scroll").getBoundingClientRect().top - AHEAD_PX;
  }

  #showTop() {
    showTop(byId("feed-top"), this.model, { loading: this.#loading.has("older"), trouble: this.#trouble, retry: () => this.loadOlder() });
  }
}
