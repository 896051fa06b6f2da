// Moments as people read them, in the zone of the browser.

const format = (options) => new Intl.DateTimeFormat("en-GB", options);
const minute = format({ hour: "2-digit", minute: "2-digit" });
const second = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const whole = format({ dateStyle: "long", timeStyle: "long" });
const weekday = format({ weekday: "long" });
const day = format({ day: "numeric", month: "long" });
const dayOfYear = format({ day: "numeric", month: "long", year: "numeric" });
const dayShort = format({ day: "numeric", month: "short" });
const dayTime = format({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const clock = (time) => minute.format(time);
export const clockSeconds = (time) => second.format(time);
export const absolute = (time) => whole.format(time);
export const dayOnly = (time) => dayShort.format(time);
export const dateAndClock = (time) => dayTime.format(time);

const pad = (value) => String(value).padStart(2, "0");

// 2026-11-22, of the local day.
export function dayKey(time) {
  const date = new Date(time);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

export function dayLabel(time, now) {
  if (dayKey(time) === dayKey(now)) return "Today";
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  if (dayKey(time) === dayKey(yesterday)) return "Yesterday";
  const sameYear = new Date(time).getFullYear() === new Date(now).getFullYear();
  return `${weekday.format(time)}, ${(sameYear ? day : dayOfYear).format(time)}`;
}
