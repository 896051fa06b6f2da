// Which numbers the records of a stream carry, and how they are laid out as panels. Pure.

import { FIELDS, isNumber } from "./words.js";

const MAX_PANELS = 12;

// Panels of the feeds that we know; what remains gets a panel of its own.
const KNOWN = [
  { title: "CPU", unit: "%", least: 9, most: 100, fields: ["cpu"] },
  { title: "Memory", unit: "GiB", fields: ["memory"] },
  { title: "Network", unit: "MB/s", fields: ["net_in", "net_out"], labels: ["in", "out"], least: 0.19 },
  { title: "Disk writes", unit: "/s", fields: ["disk_writes"], least: 9 },
  { title: "Disk", unit: "MB/s", fields: ["disk_read", "disk_write"], labels: ["read", "write"], least: 0.9 },
  { title: "Load", unit: "", fields: ["load"], least: 0.9 },
];
// Says the same as another field of its panel.
const REDUNDANT = new Set(["memory_percent"]);

// The numbers of a payload, by field; those one level down as "outer.inner"; a bare number is "value".
export function numbersOf(data) {
  if (isNumber(data)) return { value: data };
  if (typeof data !== "object" || data === null || Array.isArray(data)) return {};
  const found = {};
  for (const [name, value] of Object.entries(data)) {
    if (isNumber(value)) found[name] = value;
    else if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [inner, number] of Object.entries(value)) if (isNumber(number)) found[`${name}.${inner}`] = number;
    }
  }
  return found;
}

export function panelsOf(fields) {
  const left = new Set(fields);
  const panels = [];
  if (left.has("cpu") && left.has("memory")) {
    for (const panel of KNOWN.filter(({ fields: wanted }) => wanted.every((name) => left.has(name)))) {
      panels.push({ labels: panel.fields, ...panel });
      for (const name of panel.fields) left.delete(name);
    }
    for (const name of REDUNDANT) left.delete(name);
  }
  for (const name of left) {
    const [label, unit] = FIELDS[name] ?? [name, ""];
    panels.push({ title: label, unit, fields: [name], labels: [name] });
  }
  return panels.slice(0, MAX_PANELS);
}
