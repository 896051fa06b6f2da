import { connect, frames, next, received, tell } from "./client.mjs";

const client = connect();
const names = ["lobby", "one", "two"];
const subscriptions = names.map((name) => client.newSubscription(name, { joinLeave: true }));
const subscribed = subscriptions.map((subscription) => next(subscription, "subscribed"));
const joined = next(subscriptions[0], "join");
const unknown = client.newSubscription("nope");
const refused = next(unknown, "unsubscribed");
for (const subscription of [...subscriptions, unknown]) {
  subscription.subscribe();
}
client.connect();
const { client: id } = await next(client, "connected");
const contexts = await Promise.all(subscribed);
// Everything was asked for before anything was answered.
tell({ firstFrame: frames[0].trim().split("\n").map((line) => Object.keys(JSON.parse(line)).find((name) => name !== "id")) });
tell({ subscribed: contexts.map(({ channel, recoverable, positioned, streamPosition }) => [channel, recoverable, positioned, streamPosition.offset]) });
tell({ joined: (await joined).info.client === id });
tell({ refused: (await refused).code, state: unknown.state });

const seen = [];
const both = received(subscriptions[0], 2, seen);
await subscriptions[0].publish({ text: "hi" });
const params = { stream: "lobby", data: "two", idempotency_key: "k" };
const first = (await client.rpc("publish", params)).data;
const again = (await client.rpc("publish", params)).data;
await both;
tell({ seen: seen.map(({ offset, data, info }) => [offset, data, info.client === id]) });
tell({ rpc: [first.offset, again.offset, again.duplicate, first.epoch === again.epoch] });
tell({ wrong: await client.rpc("nope", {}).catch((error) => error.code) });

const { publications, epoch, offset } = await subscriptions[0].history({ limit: 100 });
tell({ history: publications.map((publication) => publication.offset), top: offset, same: epoch === first.epoch });
tell({ lost: await subscriptions[0].history({ limit: 1, since: { offset: 1, epoch: "elsewhen" } }).catch((error) => error.code) });
const { clients } = await subscriptions[0].presence();
tell({ present: Object.keys(clients).length, me: clients[id].connInfo });
tell({ stats: (await subscriptions[0].presenceStats()).numClients });
client.disconnect();
