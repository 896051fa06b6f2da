import { Composer } from "./composer.js";
import { behind } from "./connection-state.js";
import { CAP } from "./feed-model.js";
import { Feed } from "./feed.js";
import { listen } from "./keyboard.js";
import { Live } from "./live.js";
import { Names } from "./names.js";
import { Outgoing } from "./outgoing.js";
import { byId, json, page } from "./page.js";
import { wirePause } from "./pause.js";
import { showPosition } from "./position-view.js";
import { PresenceView } from "./presence-view.js";
import { Reader } from "./reader.js";
import { recordOf } from "./record.js";

const records = json("records", []).map((publication) => recordOf(publication));
let presence = null;

const handlers = {
  record(record) {
    feed.add(record);
    reader.arrived(record);
  },
  restart: (position) => feed.restart(position),
  change(state) {
    feed.model.client = live.clientId;
    feed.hurried = behind(state) > CAP;
    outgoing?.follow(live.live);
  },
  shown: (state) => showPosition(state, feed.epoch),
  subscribed() {
    presence?.refresh();
    feed.again();
  },
  join: (info) => presence?.join(info),
  leave: (info) => presence?.leave(info),
};
// The title of the tab counts what is new while nobody looks.
const live = new Live(page, handlers, { rests: false });

const feed = new Feed(page, records, live.subscription);
const names = new Names(json("names", {}), live.client, feed.paint);
const reader = new Reader(page, feed);
const outgoing = page.writable ? new Outgoing(page, feed, live.client) : null;
const composer = page.writable ? new Composer(byId("composer"), page, send) : null;

if (page.presence) presence = new PresenceView(page, live.subscription, (user, name) => names.learn(user, name));
feed.onPaint = () => reader.look();
feed.useNames(names);

async function send(text) {
  if (live.paused) live.togglePause();
  outgoing.write(text);
  await feed.toNewest();
}

const pause = wirePause(live, {
  paused() {
    feed.held = true;
    feed.model.hold();
  },
  resumed() {
    feed.held = false;
    feed.catchUp();
  },
});

byId("feed").addEventListener("click", (event) => {
  const action = event.target.dataset.action;
  const key = event.target.closest(".wire-row")?.dataset.key;
  if (action === "load") feed.loadGap(Number(key.split(":")[1]));
  if (action === "retry") outgoing.retry(key);
  if (action === "delete") outgoing.delete(key);
  if (action === "copy") navigator.clipboard?.writeText(outgoing.text(key));
});

async function newest() {
  await feed.toNewest();
  reader.look();
}

byId("newest").addEventListener("click", newest);
listen({
  ".": pause,
  " ": pause,
  End: newest,
  G: newest,
  Escape() {
    reader.clear();
    newest();
  },
  c: () => composer?.focus(),
});

live.start();
feed.paint();

// A link to a record that is not on the page.
const linked = Number(/^#o(\d{1,15})$/u.exec(location.hash)?.[1] ?? 0);
if (linked > 0 && linked < feed.model.first) feed.goTo(linked);
