import { Live } from "./live.js";
import { Names } from "./names.js";
import { byId, json, page, setText } from "./page.js";
import { StreamList } from "./stream-list.js";
import { inOrder, rateOf, rowOf } from "./stream-order.js";
import { listStreams } from "./streams.js";
import { number } from "./words.js";

const POLL_MS = 2000;
const TICK_MS = 1000;

const live = new Live(page, { change: () => live.live && poll() }, { subscribes: false });
const names = new Names({}, live.client, () => list.show());
const list = new StreamList(page, json("sparks", {}), names);
let heads = new Map();
let askedAt = 0;
let asking = false;

async function poll() {
  if (asking || document.hidden || !live.live || performance.now() - askedAt < POLL_MS / 2) return;
  asking = true;
  const before = askedAt;
  askedAt = performance.now();
  try {
    const streams = await listStreams();
    showRate(streams, (askedAt - before) / 1000);
    list.update(inOrder(streams.map(rowOf), Date.now()));
  } catch {
    // Asked again in two seconds; the indicator tells of a lost connection.
  }
  asking = false;
}

function showRate(streams, seconds) {
  const after = new Map(streams.map(({ name, head }) => [name, head]));
  if (heads.size > 0) {
    const rate = rateOf(heads, after, seconds);
    setText(byId("stream-rate"), ` · ${number(rate >= 10 ? Math.round(rate) : rate)} records/s`);
  }
  heads = after;
}

setInterval(poll, POLL_MS);
setInterval(() => list.tick(), TICK_MS);
document.addEventListener("visibilitychange", poll);
live.start();
