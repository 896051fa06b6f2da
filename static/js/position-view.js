// Where this page is in the stream.

import { behind } from "./connection-state.js";
import { byId, setText } from "./page.js";
import { grouped } from "./words.js";

export function showPosition(state, epoch) {
  if (byId("position-offset") === null) return;
  setText(byId("position-offset"), grouped(state.position));
  setText(byId("position-head"), grouped(Math.max(state.head, state.position)));
  setText(byId("position-epoch"), epoch);
  setText(byId("position-behind"), state.link === "up" && state.subscribed ? `${grouped(behind(state))} behind · WebSocket` : "not connected");
}
