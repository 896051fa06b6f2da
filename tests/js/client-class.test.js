import assert from "node:assert/strict";
import { test } from "node:test";
import { Centrifuge } from "../../node_modules/centrifuge/build/index.mjs";
import { widen } from "../../static/js/client-class.js";

// What is widened is not part of the client's public interface: these tests tell when an update of the package moves it.
const WirelogClient = widen(Centrifuge);

// A server that answers the connect, and the subscribe with one publication after it.
class FakeSocket {
  static sockets = [];
  readyState = 0;

  constructor() {
    FakeSocket.sockets.push(this);
    setImmediate(() => {
      this.readyState = 1;
      this.onopen?.({});
    });
  }

  send(frame) {
    for (const line of frame.split("\n").filter(Boolean)) this.#answer(JSON.parse(line));
  }

  #answer({ id, connect, subscribe, history }) {
    if (connect) this.#say({ id, connect: { client: "c1", version: "1", ping: 25, pong: true } });
    if (subscribe) {
      this.#say({ id, subscribe: { recoverable: true, positioned: true, epoch: "e", offset: 1, recovered: true, data: { head: 2 } } });
      this.#say({ push: { channel: subscribe.channel, pub: { data: { x: 1 }, offset: 2, time: 1234, key: "k", removed: true, info: { user: "7", client: "c1" } } } });
    }
    if (history) this.#say({ id, history: { publications: [{ data: 1, offset: 1, time: 99 }], epoch: "e", offset: 2 } });
  }

  #say(reply) {
    setImmediate(() => this.onmessage?.({ data: JSON.stringify(reply) }));
  }

  close() {
    setImmediate(() => this.onclose?.({ code: 1000, reason: "" }));
  }
}

function connected() {
  const client = new WirelogClient("ws://nowhere.test/", { websocket: FakeSocket });
  const subscription = client.newSubscription("lobby", { since: { epoch: "e", offset: 1 } });
  return { client, subscription };
}

test("a publication keeps its time, key and removal", async () => {
  const { client, subscription } = connected();
  const arrived = new Promise((resolve) => subscription.on("publication", resolve));
  subscription.subscribe();
  client.connect();
  const context = await arrived;
  client.disconnect();
  assert.deepEqual(
    { data: context.data, offset: context.offset, time: context.time, key: context.key, removed: context.removed, user: context.info.user },
    { data: { x: 1 }, offset: 2, time: 1234, key: "k", removed: true, user: "7" },
  );
});

test("so does a record of history", async () => {
  const { client, subscription } = connected();
  subscription.subscribe();
  client.connect();
  const { publications } = await subscription.history({ limit: 1 });
  client.disconnect();
  assert.equal(publications[0].time, 99);
});

test("a lost connection says when it is tried again", async () => {
  const { client } = connected();
  const ready = new Promise((resolve) => client.on("connected", resolve));
  const retry = new Promise((resolve) => client.on("retry", resolve));
  client.connect();
  await ready;
  FakeSocket.sockets.at(-1).onclose({ code: 1006, reason: "" });
  const { delay } = await retry;
  client.disconnect();
  assert.ok(delay >= 500 && delay <= 20_000, `delay ${delay}`);
});
