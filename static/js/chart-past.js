// The points of a window too long for single records, asked for again as time goes on.

import { ChartSeries, questionOf } from "./chart-series.js";
import { sentence } from "./words.js";

// The newest point is filled up this often, or when the next begins.
const REFRESH_SECONDS = 30;
const RETRY_SECONDS = 5;

export class ChartPast {
  // Why there is nothing to draw; "" when there is.
  trouble = "";
  #client;
  #stream;
  #changed;
  #series = null;
  #seconds = 0;
  #askAt = 0;
  #asking = false;

  constructor(client, stream, changed) {
    this.#client = client;
    this.#stream = stream;
    this.#changed = changed;
  }

  // The last `seconds` before `now`; null until the server has answered.
  of(seconds, now) {
    if (seconds !== this.#seconds) this.forget();
    this.#seconds = seconds;
    if (!this.#asking && now >= this.#askAt) this.#ask(seconds, now);
    return this.#series;
  }

  // Another window, or another epoch.
  forget() {
    this.#series = null;
    this.#askAt = 0;
    this.trouble = "";
  }

  async #ask(seconds, now) {
    this.#asking = true;
    const answer = await this.#answer(seconds, now);
    this.#asking = false;
    if (seconds === this.#seconds) this.#take(answer, now);
    this.#changed();
  }

  async #answer(seconds, now) {
    try {
      return { series: new ChartSeries((await this.#client.rpc("series", questionOf(this.#stream, now, seconds))).data), trouble: "" };
    } catch (error) {
      // What is here stays; of a lost connection the page tells elsewhere.
      return { series: this.#series, trouble: error.code >= 100 ? sentence(error) : "" };
    }
  }

  #take({ series, trouble }, now) {
    const fresh = series !== this.#series;
    this.#series = series;
    this.trouble = trouble;
    this.#askAt = now + (fresh ? Math.min(series.point, REFRESH_SECONDS) : RETRY_SECONDS);
  }
}
