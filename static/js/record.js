// A publication, from the page or from the wire, as the record that the views work with.

export function recordOf(publication, arrived = Date.now()) {
  return {
    offset: publication.offset,
    // Of a stream that stores nothing: it has no place in an order, and cannot be read again.
    passing: publication.offset === undefined,
    // A server that does not tell the time leaves us with that of arrival.
    time: publication.time ?? arrived,
    user: publication.info?.user ?? "",
    client: publication.info?.client ?? "",
    data: publication.data,
    key: publication.key ?? "",
    removed: publication.removed === true,
    tags: publication.tags ?? null,
  };
}

// Beyond so many characters a record scrolls by itself, and does not fill the feed.
const LONG = 2000;

export function textOf(record) {
  const { text, css } = writingOf(record.data);
  return { text, css: text.length > LONG ? `${css} wire-long` : css };
}

function writingOf(data) {
  // Redacted, or published so.
  if (data === null) return { text: "no payload", css: "wire-data" };
  if (typeof data === "object" && typeof data.text === "string") return { text: data.text, css: "wire-text" };
  return { text: JSON.stringify(data), css: "wire-data" };
}
