// The window of the feed as rows to draw: records with their day separators, grouped by sender, gaps, the line before what is new, and
// what waits to be sent. Pure. realtime/feed_rows.py does the same for the first paint.

import { textOf } from "./record.js";
import { absolute, clock, dayKey, dayLabel } from "./times.js";
import { records as recordsInWords } from "./words.js";

const GROUP_MS = 5 * 60 * 1000;

export function rowsOf(model, names, now) {
  const rows = [];
  let before = null;
  let newSeen = model.newAfter === 0;
  for (const record of model.records) {
    const own = isOwn(record, model);
    if (before !== null && record.offset > before.offset + 1) {
      rows.push(gap(before.offset, record.offset));
      before = null;
    }
    const newDay = before === null || dayKey(before.time) !== dayKey(record.time);
    if (newDay) rows.push(day(record.time, now, rows));
    const startsNew = !newSeen && record.offset > model.newAfter && !own;
    if (startsNew) rows.push({ type: "new", key: "new" });
    newSeen ||= startsNew;
    rows.push(recordRow(record, own, !newDay && !startsNew && follows(before, record), names));
    before = record;
  }
  return [...rows, ...pendingRows(model, before, now, rows)];
}

const isOwn = (record, model) => record.user !== "" && record.user === model.principal;

function follows(before, record) {
  const apart = record.time - before.time;
  return before.user === record.user && apart >= 0 && apart < GROUP_MS;
}

function gap(after, before) {
  const count = before - after - 1;
  return { type: "gap", key: `gap:${after}`, after, before, text: `— ${recordsInWords(count)} not loaded.` };
}

// A clock that went back would bring the same day twice; rows need keys of their own.
function day(time, now, rows) {
  const key = `day:${dayKey(time)}`;
  const again = rows.filter((row) => row.type === "day" && row.key.startsWith(key)).length;
  return { type: "day", key: again === 0 ? key : `${key}:${again}`, label: dayLabel(time, now) };
}

function recordRow(record, own, joined, names) {
  const { text, css } = textOf(record);
  return {
    type: "record",
    key: record.element ?? String(record.offset),
    offset: record.passing ? 0 : record.offset,
    name: own ? "You" : names(record.user),
    time: record.time,
    clock: clock(record.time),
    absolute: absolute(record.time),
    own,
    joined,
    text,
    css,
    state: "stored",
    note: "",
  };
}

const NOTES = { queued: "queued", sending: "sending…", sent: "", failed: "not sent" };

function pendingRows(model, last, now, rows) {
  const items = model.following ? model.pending : [];
  let before = last;
  return items.flatMap((item) => {
    const record = { user: model.principal, time: item.created };
    const newDay = before === null || dayKey(before.time) !== dayKey(record.time);
    const joined = !newDay && item.state !== "failed" && before.user === model.principal && Math.abs(record.time - before.time) < GROUP_MS;
    before = record;
    const row = {
      ...recordRow({ ...record, offset: item.offset ?? 0, data: { text: item.text }, element: item.key }, true, joined, () => ""),
      state: item.state === "sent" ? "stored" : item.state,
      note: item.reason || NOTES[item.state],
    };
    return newDay ? [day(record.time, now, rows), row] : [row];
  });
}
