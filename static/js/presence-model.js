// Who is here: people, not tabs. Somebody whose last tab went away stays for a moment, so that a reload makes no noise. Pure.

export const GRACE_MS = 15_000;

export class PresenceModel {
  // Client id → { user, name }.
  #clients = new Map();
  // Principal → { name, since } of those whose last tab has gone.
  #leaving = new Map();

  constructor(principal) {
    this.principal = principal;
  }

  // The whole truth, as the server sees it now.
  sync(clients, now) {
    const before = new Map(this.#clients);
    this.#clients = new Map(Object.entries(clients).map(([id, info]) => [id, entryOf(info)]));
    for (const { user, name } of before.values()) this.#left(user, name, now);
    for (const { user } of this.#clients.values()) this.#leaving.delete(user);
  }

  join(info) {
    this.#clients.set(info.client, entryOf(info));
    this.#leaving.delete(info.user);
  }

  leave(info, now) {
    const known = this.#clients.get(info.client) ?? entryOf(info);
    this.#clients.delete(info.client);
    this.#left(known.user, known.name, now);
  }

  #left(user, name, now) {
    const still = [...this.#clients.values()].some((entry) => entry.user === user);
    if (!still && !this.#leaving.has(user)) this.#leaving.set(user, { name, since: now });
  }

  // [{ user, name, you, leaving }], oneself first, then by name.
  people(now) {
    for (const [user, { since }] of this.#leaving) {
      if (now - since >= GRACE_MS) this.#leaving.delete(user);
    }
    const here = new Map([...this.#clients.values()].map(({ user, name }) => [user, { user, name, leaving: false }]));
    for (const [user, { name }] of this.#leaving) here.set(user, { user, name, leaving: true });
    const people = [...here.values()].map((person) => ({ ...person, you: person.user === this.principal }));
    return people.sort((a, b) => Number(b.you) - Number(a.you) || a.name.localeCompare(b.name));
  }
}

function entryOf(info) {
  return { user: info.user, name: info.connInfo?.name || info.user || "anonymous" };
}
