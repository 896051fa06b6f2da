// The scroller of the feed. It runs in reverse (column-reverse): 0 is the end, and older records have negative positions, so what comes in
// above moves nothing. What comes in below would; `keep` undoes it.

const AT_END_PX = 24;

export class FeedScroll {
  #scroller;
  #list;

  constructor(scroller, list) {
    this.#scroller = scroller;
    this.#list = list;
  }

  get atEnd() {
    return this.#scroller.scrollTop >= -AT_END_PX;
  }

  toEnd() {
    this.#scroller.scrollTop = 0;
  }

  // Change the list so that what the reader looks at stays where it is: the end, or else the first record in sight.
  keep(change) {
    if (this.atEnd) {
      change();
      this.toEnd();
      return;
    }
    const anchor = this.#firstInSight();
    const before = anchor?.getBoundingClientRect().top;
    change();
    if (anchor?.isConnected) this.#scroller.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  #firstInSight() {
    const { top } = this.#scroller.getBoundingClientRect();
    const children = this.#list.children;
    // Rows stand in order: look for the first that ends below the upper edge.
    let low = 0;
    let high = children.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (children[middle].getBoundingClientRect().bottom > top) high = middle;
      else low = middle + 1;
    }
    return children[low];
  }
}
