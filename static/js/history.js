// Pages of a stream's past, as records in order.

import { recordOf } from "./record.js";

export class History {
  #subscription;
  epoch;

  constructor(subscription, epoch) {
    this.#subscription = subscription;
    this.epoch = epoch;
  }

  async before(offset, limit) {
    const { publications } = await this.#subscription.history({ limit, since: this.#position(offset), reverse: true });
    return publications.map((publication) => recordOf(publication)).reverse();
  }

  async after(offset, limit) {
    const { publications, offset: head } = await this.#subscription.history({ limit, since: this.#position(offset) });
    return { page: publications.map((publication) => recordOf(publication)), head };
  }

  // The newest page, whatever the epoch is now.
  async newest(limit) {
    const { publications, offset: head, epoch } = await this.#subscription.history({ limit, reverse: true });
    this.epoch = epoch;
    return { page: publications.map((publication) => recordOf(publication)).reverse(), head };
  }

  #position(offset) {
    return { offset, epoch: this.epoch };
  }
}
