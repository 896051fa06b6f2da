import { Live } from "./live.js";
import { Names } from "./names.js";
import { byId, json, page, setText } from "./page.js";
import { StreamList } from "./stream-list.js";
import { inOrder, rateOf } from "./stream-order.js";
import { isPeople } from "./stream-order.js";
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
    const { data } = await live.client.rpc("streams", {});
    showRate(data.streams, (askedAt - before) / 1000);
    list.update(inOrder(data.streams.map(rowOf), Date.now()));
  } catch {
    // Asked again in two seconds; the indicator tells of a lost connection.
  }
  asking = false;
}

// As realtime/stream_list.py makes it of the same answer.
function rowOf(stream) {
  const people = isPeople(stream.kind);
  return { ...stream, title: stream.title || stream.name, unread: people ? stream.unread : 0, time: stream.last?.time ?? 0, people };
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
