// One stream, live: the subscription from the rendered position on, and the state of the connection, for any view of it.
//
// handlers: record(record) for each record in order; restart(position) when the stream cannot be resumed from where the page was;
// change(state) when the connection changes, shown(state) when its picture does; join(info) and leave(info) of others.

import { client, tryNow } from "./client.js";
import { SIGNED_OUT, SOMEBODY_ELSE, closed, isCredential, signedOut, unsubscribed } from "./closings.js";
import { describe, initial, isLive, reduce } from "./connection-state.js";
import { showConnection } from "./connection-view.js";
import { measureLatency } from "./latency.js";
import { painter } from "./paint.js";
import { recordOf } from "./record.js";
import { clockSeconds } from "./times.js";
import { whoAmI } from "./whoami.js";

const TICK_MS = 250;
// An own password change ends the socket but not the session; twice within this time it is something else.
const AGAIN_MS = 10_000;
// The answer that brings the new session cookie may come after the news that the old session has ended.
const COOKIE_MS = 1000;
// A tab that nobody has looked at for so long gives its connection back.
const HIDDEN_MS = 5 * 60 * 1000;

export class Live {
  #page;
  #handlers;
  #state;
  #againAt = 0;
  #clientId = "";
  #rests;
  #rest;
  #resting = false;
  // Records of a stream that stores nothing are numbered here, so that views have something to tell them apart by.
  #passed = 0;

  // `rests`: nothing is told while the tab is hidden, so it needs no connection then.
  constructor(page, handlers, { subscribes = true, rests = true } = {}) {
    this.#page = page;
    this.#handlers = handlers;
    this.#rests = rests;
    this.#state = initial(Date.now(), { online: navigator.onLine, subscribes, position: page.head });
    this.client = client;
    this.subscription = subscribes ? this.#subscription() : null;
  }

  // Set by the button that pauses.
  onPause = () => {};

  // The id of this connection; "" without one.
  get clientId() {
    return this.#clientId;
  }

  get state() {
    return this.#state;
  }

  get live() {
    return isLive(this.#state);
  }

  get paused() {
    return this.#state.paused !== null;
  }

  start() {
    this.#listen();
    this.subscription?.subscribe();
    client.connect();
    measureLatency(this);
    setInterval(() => this.#show(), TICK_MS);
    this.#show();
  }

  dispatch(event) {
    const was = this.live;
    this.#state = reduce(this.#state, { at: Date.now(), ...event });
    this.#paint();
    // Thousands of records in a second change nothing but a number.
    if (event.type === "record" && this.live === was) return;
    this.onPause();
    this.#handlers.change?.(this.#state);
  }

  togglePause() {
    this.dispatch({ type: this.paused ? "resume" : "pause" });
  }

  #paint = painter(() => this.#show());

  #show() {
    this.#handlers.shown?.(this.#state);
    const actions = { try: ["Try now", tryNow], resume: ["Resume", () => this.togglePause()] };
    showConnection(describe(this.#state, Date.now(), clockSeconds), this.#state.ended, actions);
  }

  #listen() {
    client.on("connecting", () => this.dispatch({ type: "connecting" }));
    client.on("retry", ({ delay }) => this.dispatch({ type: "retry", at: Date.now() + delay }));
    client.on("connected", (context) => this.#connected(context));
    client.on("disconnected", ({ code }) => this.#disconnected(code));
    window.addEventListener("online", () => this.dispatch({ type: "online" }));
    window.addEventListener("offline", () => this.dispatch({ type: "offline" }));
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#lookAway() : this.#lookAgain()));
    window.addEventListener("focus", () => this.#lookAgain());
  }

  #connected({ client: id, data }) {
    this.#clientId = id;
    if (data !== undefined && data.user !== this.#page.principal) {
      this.#end(SOMEBODY_ELSE);
      client.disconnect();
      return;
    }
    this.dispatch({ type: "connected" });
  }

  #lookAway() {
    if (this.#rests) this.#rest = setTimeout(() => this.#sleep(), HIDDEN_MS);
  }

  #sleep() {
    if (this.#state.ended !== null) return;
    this.#resting = true;
    client.disconnect();
  }

  // What was missed meanwhile comes with the connection. Nobody should have to wait for the end of a long back-off.
  #lookAgain() {
    clearTimeout(this.#rest);
    if (this.#resting) client.connect();
    this.#resting = false;
    if (!document.hidden && this.#state.link === "down" && this.#state.retryAt > Date.now()) tryNow();
  }

  #subscription() {
    const { stream, epoch, head } = this.#page;
    const subscription = client.newSubscription(stream, { since: { epoch, offset: head }, joinLeave: true });
    subscription.on("subscribing", () => this.dispatch({ type: "subscribing" }));
    subscription.on("subscribed", (context) => this.#subscribed(context));
    subscription.on("publication", (context) => this.#publication(context));
    subscription.on("unsubscribed", ({ code }) => this.#end(unsubscribed(code)));
    subscription.on("join", ({ info }) => this.#handlers.join?.(info));
    subscription.on("leave", ({ info }) => this.#handlers.leave?.(info));
    return subscription;
  }

  #subscribed({ streamPosition, recoverable, recovered, data }) {
    const position = streamPosition?.offset ?? 0;
    if (recoverable && !recovered) this.#handlers.restart?.(streamPosition);
    this.dispatch({ type: "subscribed", position, head: data?.head ?? position });
    this.#handlers.subscribed?.();
  }

  #publication(context) {
    const record = recordOf(context);
    if (record.passing) record.offset = this.#passed += 1;
    // First the view, then "live": the word must not be ahead of the picture.
    this.#handlers.record?.(record);
    this.dispatch({ type: "record", offset: record.passing ? this.#state.position : record.offset });
  }

  async #disconnected(code) {
    if (this.#state.ended !== null || this.#resting) return;
    this.dispatch({ type: "connecting" });
    if (code === SIGNED_OUT) await new Promise((done) => setTimeout(done, COOKIE_MS));
    if (!isCredential(code)) this.#end(closed(code));
    else if ((await whoAmI()) !== this.#page.principal) this.#end(signedOut(location.pathname + location.search));
    else if (code !== SIGNED_OUT || Date.now() - this.#againAt < AGAIN_MS) this.#end(closed(code));
    else this.#again();
  }

  // The session is still there, only its socket was closed.
  #again() {
    this.#againAt = Date.now();
    client.connect();
  }

  #end(ending) {
    this.dispatch({ type: "ended", ending });
  }
}
