// What any page may ask of the streams that one may read.

export async function listStreams() {
  const client = await connected();
  const { data } = await client.rpc("streams", {});
  return data.streams;
}

export async function markRead(stream, offset) {
  const client = await connected();
  await client.rpc("mark_read", { stream, offset });
}

// The client is loaded when it is asked for: pages without a live view do without.
async function connected() {
  const { client } = await import("./client.js");
  client.connect();
  return client;
}
