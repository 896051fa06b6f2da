// Unsubscribes and subscribes again, over and over, while records are published: it resumes each time.

import { connect, next, received, tell } from "./client.mjs";

const count = Number(process.argv[4]);
const client = connect();
const subscription = client.newSubscription("lobby");
const seen = [];
const all = received(subscription, count, seen);
subscription.subscribe();
client.connect();
await next(subscription, "subscribed");
const published = (async () => {
  for (let number = 1; number <= count; number++) {
    await client.rpc("publish", { stream: "lobby", data: number });
  }
})();
let rounds = 0;
let recovered = 0;
// Twice at least: on a busy machine all may be there after the first.
while (rounds < 2 || (seen.length < count && rounds < 20)) {
  subscription.unsubscribe();
  const back = next(subscription, "subscribed");
  subscription.subscribe();
  recovered += (await back).recovered ? 1 : 0;
  rounds++;
}
await Promise.all([published, all]);
tell({ records: seen.map(({ offset, data }) => [offset, data]), everyTime: rounds === recovered, rounds });
client.disconnect();
