// Keys that go from one stream with something unread to another, and that mark them all as read.

import { page } from "./page.js";
import { inOrder, nextUnread, rowOf } from "./stream-order.js";
import { listStreams, markRead } from "./streams.js";
import { streamUrl } from "./words.js";

export async function goToUnread(step) {
  const rows = await unread();
  if (rows === null) return;
  const next = nextUnread(rows, page.stream, step);
  // The list says so when there is none.
  location.assign(next === null ? "/?show=unread" : streamUrl(next));
}

export async function markAllRead() {
  const rows = (await unread()) ?? [];
  await Promise.allSettled(rows.map(({ name, head }) => markRead(name, head)));
}

// In the order of the list; null when nobody answers, of which the page tells elsewhere.
async function unread() {
  try {
    const rows = (await listStreams()).map(rowOf).filter((row) => row.unread > 0);
    return inOrder(rows, Date.now());
  } catch {
    return null;
  }
}
