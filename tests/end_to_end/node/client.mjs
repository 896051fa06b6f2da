// What the scenarios share: a client of npm centrifuge on a WebSocket that counts its frames, and lines of JSON to the test.

import { Centrifuge } from "centrifuge";
import WebSocket from "ws";

const [url, token] = process.argv.slice(2);

export const frames = [];

class CountingSocket extends WebSocket {
  send(data, ...rest) {
    frames.push(String(data));
    super.send(data, ...rest);
  }
}

export function connect() {
  const client = new Centrifuge(url, { token, websocket: CountingSocket, timeout: 30_000, maxReconnectDelay: 500 });
  client.on("disconnected", ({ code, reason }) => tell({ disconnected: code, reason }));
  return client;
}

export function tell(value) {
  process.stdout.write(JSON.stringify(value) + "\n");
}

// The context of the next `event` of a client or subscription.
export function next(emitter, event) {
  return new Promise((resolve) => emitter.once(event, resolve));
}

// Resolves when `count` publications have come to `subscription`; each is told to `seen`.
export function received(subscription, count, seen) {
  return new Promise((resolve) => {
    subscription.on("publication", (publication) => {
      seen.push(publication);
      if (seen.length === count) {
        resolve();
      }
    });
  });
}
