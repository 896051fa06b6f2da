// The order and grouping of the list of streams, as realtime/stream_list.py has them. Pure.

const PEOPLE = new Set(["feed", "game"]);
const SILENT_MS = 600_000;
const STEPS_MS = [SILENT_MS, 86_400_000, 30 * 86_400_000];

const isPeople = (kind) => PEOPLE.has(kind);

export const isSilent = (row, now) => !isPeople(row.kind) && now - row.time > SILENT_MS;

// A stream as a row, of the answer of `rpc streams`. Nobody reads each measurement: only what people write can be unread.
export function rowOf(stream) {
  const people = isPeople(stream.kind);
  return { ...stream, title: stream.title || stream.name, unread: people ? stream.unread : 0, time: stream.last?.time ?? 0, people };
}

// The name of the unread stream after or before the one called `here`; null when there is no other.
export function nextUnread(rows, here, step) {
  const others = rows.filter((row) => row.name !== here);
  if (others.length === 0) return null;
  const place = rows.findIndex((row) => row.name === here);
  if (place < 0) return (step > 0 ? others[0] : others.at(-1)).name;
  return rows[(place + step + rows.length) % rows.length].name;
}

// Unread first, then by how recent, in steps so coarse that rows do not dance; then by title.
export function inOrder(rows, now) {
  const step = (row) => STEPS_MS.filter((limit) => now - row.time > limit).length;
  return [...rows].sort(
    (a, b) => Number(b.unread > 0) - Number(a.unread > 0) || step(a) - step(b) || a.title.localeCompare(b.title),
  );
}

export function belongs(row, filter, now) {
  if (filter === "unread") return row.unread > 0;
  if (filter === "mine") return row.mine;
  if (filter === "silent") return isSilent(row, now);
  return true;
}

export function matches(row, query) {
  const wanted = query.toLowerCase();
  return row.name.toLowerCase().includes(wanted) || row.title.toLowerCase().includes(wanted);
}

// Records per second of all streams together, from two answers.
export function rateOf(before, after, seconds) {
  let records = 0;
  for (const [name, head] of after) if (before.has(name)) records += Math.max(0, head - before.get(name));
  return seconds > 0 ? records / seconds : 0;
}
