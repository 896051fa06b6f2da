// The feed: its window on the stream, kept in step with the subscription, and drawn at most once a frame.

import { FeedModel } from "./feed-model.js";
import { rowsOf } from "./feed-rows.js";
import { FeedScroll } from "./feed-scroll.js";
import { History } from "./history.js";
import { byId, setText } from "./page.js";
import { painter } from "./paint.js";
import { WireView } from "./wire-view.js";

const PAGE = 50;
const MAX_PAGE = 300;

export class Feed {
  #view;
  #history;
  #names;
  // What loads now: "older", "newer" or a gap; one at a time each.
  #loading = new Set();
  #trouble = "";

  constructor(page, records, subscription) {
    this.model = new FeedModel(page);
    this.model.reset(records, page.head);
    this.scroll = new FeedScroll(byId("feed-scroll"), byId("feed"));
    this.paint = painter(() => this.#paint());
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
      const size = missed > MAX_PAGE ? PAGE : MAX_PAGE;
      if (missed > MAX_PAGE) {
        const { page, head } = await this.#history.newest(size);
        this.model.extend(page, head);
      }
      await this.#follow();
    });
  }

  async #follow() {
    while (!this.model.following) {
      const { page, head } = await this.#history.after(this.model.last, MAX_PAGE);
      this.model.extend(page, head);
      if (page.length === 0) return;
    }
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
      this.#trouble = "";
    } catch {
      this.#trouble = "Records could not be loaded.";
    }
    this.#loading.delete(what);
    this.paint();
  }

  #watch() {
    const root = byId("feed-scroll");
    const observe = (element, load) =>
      new IntersectionObserver(([entry]) => entry.isIntersecting && load(), { root, rootMargin: "600px 0px" }).observe(element);
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
    return this.#trouble === "" && byId("feed-top").getBoundingClientRect().bottom > byId("feed-scroll").getBoundingClientRect().top - 600;
  }

  #showTop() {
    const { model } = this;
    let text = "";
    if (this.#trouble !== "") text = this.#trouble;
    else if (this.#loading.has("older")) text = "Loading older records…";
    else if (model.records.length === 0 && model.head === 0) text = "Nothing here yet. The first record starts the wire.";
    else if (model.reachesStart) text = model.first > 1 ? "Older records were removed." : "The first record.";
    const top = byId("feed-top");
    if (this.#trouble !== "" && top.querySelector("button") === null) top.replaceChildren(text, this.#retry());
    else if (this.#trouble === "") setText(top, text);
  }

  #retry() {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button-text";
    button.textContent = "Try again";
    button.onclick = () => {
      this.#trouble = "";
      this.loadOlder();
    };
    return button;
  }
}
