import assert from "node:assert/strict";
import { test } from "node:test";
import { GRACE_MS, PresenceModel } from "../../static/js/presence-model.js";

const info = (client, user, name) => ({ client, user, connInfo: { name } });
const people = (model, now = 0) => model.people(now).map(({ name, you, leaving }) => `${name}${you ? " (you)" : ""}${leaving ? " leaving" : ""}`);

function room() {
  const model = new PresenceModel("1");
  model.sync({ a: info("a", "1", "Zoe"), b: info("b", "2", "Mika"), c: info("c", "2", "Mika"), d: info("d", "3", "Jo") }, 0);
  return model;
}

test("people, not tabs; oneself first, then by name", () => assert.deepEqual(people(room()), ["Zoe (you)", "Jo", "Mika"]));

test("one of two tabs that closes changes nothing", () => {
  const model = room();
  model.leave(info("b", "2", "Mika"), 0);
  assert.deepEqual(people(model), ["Zoe (you)", "Jo", "Mika"]);
});

test("the last tab that closes leaves somebody for a while, then nobody", () => {
  const model = room();
  model.leave(info("d", "3", "Jo"), 1000);
  assert.deepEqual(people(model, 1000 + GRACE_MS - 1), ["Zoe (you)", "Jo leaving", "Mika"]);
  assert.deepEqual(people(model, 1000 + GRACE_MS), ["Zoe (you)", "Mika"]);
});

test("a reload in between makes no noise", () => {
  const model = room();
  model.leave(info("d", "3", "Jo"), 1000);
  model.join(info("e", "3", "Jo"));
  assert.deepEqual(people(model, 1000 + GRACE_MS), ["Zoe (you)", "Jo", "Mika"]);
});

test("a fresh list replaces what is known; who is missing leaves slowly", () => {
  const model = room();
  model.sync({ x: info("x", "1", "Zoe"), y: info("y", "4", "Sam") }, 5000);
  assert.deepEqual(people(model, 5000), ["Zoe (you)", "Jo leaving", "Mika leaving", "Sam"]);
});

test("somebody without a name stands under their principal", () => {
  const model = new PresenceModel("1");
  model.join({ client: "k", user: "key:ab12", connInfo: undefined });
  assert.deepEqual(people(model), ["key:ab12"]);
});
