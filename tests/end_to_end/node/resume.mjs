// Reads `lobby` until it has as many records as asked for, whatever becomes of the server meanwhile.

import { connect, received, tell } from "./client.mjs";

const count = Number(process.argv[4]);
const client = connect();
const subscription = client.newSubscription("lobby");
const seen = [];
const all = received(subscription, count, seen);
subscription.on("subscribed", ({ wasRecovering, recovered }) => tell({ subscribed: [wasRecovering, recovered] }));
subscription.subscribe();
client.connect();
await all;
tell({ records: seen.map(({ offset, data }) => [offset, data]) });
client.disconnect();
