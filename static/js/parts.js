// F6: from one part of the page to the next, however many links lie between.

const PARTS = ".header, .title-actions, .tabs, .rows-section, .feed-scroll, .chart-bar, .raw, .composer, .calls, .panel";
const FOCUSABLE = "a[href], button:enabled, input, textarea, summary, [tabindex='0']";

export function goToPart(step) {
  const parts = [...document.querySelectorAll(PARTS)].filter((part) => entryOf(part) !== undefined);
  const here = parts.findLastIndex((part) => part.contains(document.activeElement));
  const next = here < 0 && step < 0 ? parts.length - 1 : (here + step + parts.length) % parts.length;
  entryOf(parts[next])?.focus();
}

function entryOf(part) {
  return [part, ...part.querySelectorAll(FOCUSABLE)].find((element) => element.matches(FOCUSABLE) && element.checkVisibility());
}
