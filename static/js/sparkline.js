// The last values of a series as a small line, as realtime/stream_list.py draws the first.

import { isNumber } from "./words.js";

const WIDTH = 110;
const HEIGHT = 26;
export const POINTS = 60;

export function polyline(points) {
  if (points.length < 2) return "";
  const low = Math.min(...points);
  const high = Math.max(...points);
  const step = WIDTH / (points.length - 1);
  const middle = high === low ? 0.5 : 0;
  const y = (value) => (1 - middle - (value - low) / (high - low || 1)) * (HEIGHT - 2) + 1;
  return points.map((value, index) => `${(index * step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
}

export function firstNumber(data) {
  const values = typeof data === "object" && data !== null ? Object.values(data) : [data];
  return values.find(isNumber) ?? null;
}
