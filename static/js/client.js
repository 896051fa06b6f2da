// The one connection of a tab.

import { Centrifuge } from "../centrifuge/index.mjs";
import { widen } from "./client-class.js";

const WirelogClient = widen(Centrifuge);

// The client waits for `online` before it tries again; "Try now" is the same event from us.
const network = new EventTarget();
for (const type of ["online", "offline"]) {
  window.addEventListener(type, () => network.dispatchEvent(new Event(type)));
}

export function tryNow() {
  network.dispatchEvent(new Event("online"));
}

const scheme = location.protocol === "https:" ? "wss" : "ws";

export const client = new WirelogClient(`${scheme}://${location.host}/connection/websocket`, {
  name: "pages",
  networkEventTarget: network,
});
