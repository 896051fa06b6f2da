import { listen } from "./keyboard.js";
import { Live } from "./live.js";
import { Names } from "./names.js";
import { byId, clone, json, page, setText } from "./page.js";
import { painter } from "./paint.js";
import { wirePause } from "./pause.js";
import { recordOf } from "./record.js";
import { History } from "./history.js";
import { absolute, dateAndClock } from "./times.js";
import { grouped } from "./words.js";

const MAX_ROWS = 200;
const PAGE = 50;

const list = byId("raw");
const records = json("records", []).map((publication) => recordOf(publication));
// An older page stays as it is: what comes now has no place beside it.
const past = records.length > 0 && records.at(-1).offset < page.head;
// Not drawn yet, in order.
let waiting = [];

const live = new Live(page, {
  record(record) {
    if (past) return;
    waiting.push(record);
    if (waiting.length > MAX_ROWS) waiting.shift();
    paint();
  },
  restart,
});
const names = new Names(json("names", {}), live.client, rename);
const history = new History(live.subscription, page.epoch);

const paint = painter(() => {
  if (live.paused) return;
  for (const record of waiting) {
    list.prepend(rowOf(record));
    redact(record);
  }
  waiting = [];
  while (list.children.length > MAX_ROWS) list.lastElementChild.remove();
  byId("raw-empty").hidden = list.children.length > 0;
});

function rowOf(record) {
  const row = clone("raw-record");
  const offset = row.querySelector(".raw-offset");
  setText(offset, record.passing ? "–" : grouped(record.offset));
  if (!record.passing) {
    row.id = `o${record.offset}`;
    offset.href = `#o${record.offset}`;
  }
  const time = row.querySelector("time");
  time.dateTime = new Date(record.time).toISOString();
  showTime(time, record);
  row.dataset.user = record.user;
  setText(row.querySelector(".raw-who"), names.get(record.user));
  const details = [record.key && `key ${record.key}`, record.removed && "removed", record.tags && JSON.stringify(record.tags)];
  setText(row.querySelector(".raw-details"), details.filter(Boolean).join(" · "));
  setText(row.querySelector(".raw-json"), JSON.stringify(record.data, null, 2));
  return row;
}

function showTime(element, { time }) {
  element.title = absolute(time);
  setText(element, dateAndClock(time));
}

// A record that takes another one's payload away.
function redact({ tags }) {
  const row = tags?.redacts && document.querySelector(`#o${CSS.escape(tags.redacts)}`);
  if (!row) return;
  setText(row.querySelector(".raw-details"), "");
  setText(row.querySelector(".raw-json"), "");
}

function rename() {
  for (const row of list.querySelectorAll("[data-user]")) setText(row.querySelector(".raw-who"), names.get(row.dataset.user));
}

async function restart() {
  const { page: records } = await history.newest(PAGE);
  waiting = records;
  list.replaceChildren();
  paint();
}

const pause = wirePause(live, { paused: () => {}, resumed: () => paint() });
listen({ ".": pause, " ": pause });

// Times that came with the page are in the server's zone.
for (const record of records) {
  const time = document.querySelector(`#o${record.offset} time`);
  if (time !== null) showTime(time, record);
}
live.start();
