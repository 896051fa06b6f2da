// Streams that fit what is typed, the best first: those that begin with it, then those with a word that does, then those that contain it. Pure.

export function rank(streams, text) {
  const wanted = text.trim().toLowerCase();
  const scored = streams.map((stream) => [score(stream, wanted), stream]).filter(([points]) => points < 3);
  return scored.sort(([a, one], [b, other]) => a - b || label(one).localeCompare(label(other))).map(([, stream]) => stream);
}

const label = (stream) => stream.title || stream.name;

function score(stream, wanted) {
  const texts = [label(stream).toLowerCase(), stream.name.toLowerCase()];
  if (texts.some((text) => text.startsWith(wanted))) return 0;
  if (texts.some((text) => text.split(/[\s:._-]+/u).some((word) => word.startsWith(wanted)))) return 1;
  return texts.some((text) => text.includes(wanted)) ? 2 : 3;
}
