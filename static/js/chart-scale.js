// The vertical scale of a chart, and its ticks. Pure.

// Bottom and top in round steps, so that the scale does not dance with each value. `least`: noise below it stays small; `most` caps a
// share of a whole.
export function scale(low, high, { least = 0, most = Infinity } = {}) {
  const reach = Math.max(Math.abs(low ?? 0), Math.abs(high ?? 0), least);
  if (!Number.isFinite(reach) || reach === 0) return { low: 0, high: 1, step: 0.5 };
  if (low >= 0 && reach <= most && reach > most / 2) return { low: 0, high: most, step: most / STEPS };
  const step = niceStep((reach * AIR) / STEPS);
  const wanted = Math.max(high ?? 0, least);
  const top = wanted > 0 ? Math.ceil((wanted * AIR) / step) * step : 0;
  const bottom = low < 0 ? -Math.ceil((-low * AIR) / step) * step : 0;
  return { low: bottom, high: top, step };
}

const STEPS = 4;
// Some air above the highest point.
const AIR = 1.05;
const NICE = [1, 2, 2.5, 3, 4, 5, 10];

function niceStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return NICE.find((step) => step * power >= value * 0.999999) * power;
}

// The ticks of a scale, and how they are written: all with the same number of decimals.
export function ticks({ low, high, step }) {
  const count = Math.round((high - low) / step);
  return Array.from({ length: count + 1 }, (_, index) => low + index * step);
}

export function decimalsOf(step) {
  const text = String(Number(step.toPrecision(3)));
  return text.includes(".") ? text.split(".")[1].length : 0;
}
