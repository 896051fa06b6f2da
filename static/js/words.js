// Records and numbers in words, as realtime/words.py has them; tests/js/words.json holds both to it.

const THIN = "\u202f";
const MAX_FIELDS = 3;
const MAX_TEXT = 200;

// Fields that feeds of ours send: how people call them, and their unit. Any other field keeps its name.
export const FIELDS = {
  cpu: ["CPU", "%"],
  memory: ["memory", "GiB"],
  memory_percent: ["memory", "%"],
  load: ["load", ""],
  disk_read: ["disk read", "MB/s"],
  disk_write: ["disk write", "MB/s"],
  disk_writes: ["disk writes", "/s"],
  net_in: ["net in", "MB/s"],
  net_out: ["net out", "MB/s"],
};
const LISTED = ["cpu", "memory", "load"];

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

export function summary(kind, data) {
  if (isObject(data) && typeof data.text === "string") return shorten(data.text);
  if (kind !== "feed" && isObject(data)) {
    const fields = numbers(data);
    if (fields.length > 0) return fields.slice(0, MAX_FIELDS).join(" · ");
  }
  return shorten(typeof data === "string" ? data : JSON.stringify(data));
}

function numbers(data) {
  const known = LISTED.filter((name) => isNumber(data[name]));
  const names = known.length > 0 ? known : Object.keys(data).filter((name) => isNumber(data[name]));
  return names.map((name) => {
    const [label, unit] = FIELDS[name] ?? [name, ""];
    return `${label} ${number(data[name])}${unit && ` ${unit}`}`;
  });
}

export function shorten(text) {
  const line = text.trim().split(/\s+/u).join(" ");
  const characters = [...line];
  return characters.length <= MAX_TEXT ? line : `${characters.slice(0, MAX_TEXT - 1).join("")}…`;
}

// Three digits that count; whole numbers whole.
export function number(value) {
  if (Number.isInteger(value)) return grouped(Math.abs(value) < 1e21 ? BigInt(value) : value);
  const size = Math.abs(value);
  return grouped(value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2));
}

// As it was sent, for tables.
export const exact = (value) => grouped(Number(value.toPrecision(10)));

export function grouped(value) {
  const [whole, rest] = String(value).split(".");
  const groups = whole.replace(/\B(?=(\d{3})+$)/gu, THIN);
  return rest === undefined ? groups : `${groups}.${rest}`;
}

export const age = (time, now) => (time ? duration(Math.max(0, Math.floor((now - time) / 1000))) : "");

// In the largest unit of which it is one at least.
export function duration(seconds) {
  if (seconds >= 86400) return `${Math.floor(seconds / 86400)} d`;
  if (seconds >= 3600) return `${Math.floor(seconds / 3600)} h`;
  if (seconds >= 60) return `${Math.floor(seconds / 60)} min`;
  return `${seconds} s`;
}

// What the server says of an error.
export function sentence(error) {
  const text = error.message || `error ${error.code}`;
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

// Why `data` is too large a payload, in bytes of JSON as the server counts them; "" when it is not.
export function excessOf(data, largest) {
  const json = JSON.stringify(data);
  // No character takes more than three bytes: a short text need not be encoded.
  const size = json.length * 3 > largest ? new TextEncoder().encode(json).length : 0;
  return size > largest ? `Too large to send: ${grouped(size)} bytes, at most ${grouped(largest)}.` : "";
}

export const badge = (count) => (count > 99 ? "99+" : String(count));
export const records = (count) => `${grouped(count)} record${count === 1 ? "" : "s"}`;
// Of a stream in a list: what an address would have to escape is in the names of personal ones only (#7).
export const streamUrl = (name) => `/s/${name}/`;
