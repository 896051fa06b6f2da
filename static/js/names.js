// Principals as people know them: those that came with the page, the rest asked for in one go and kept.

const MAX_ASKED = 100;

export class Names {
  #known;
  #client;
  #changed;
  #wanted = new Set();
  #asking = false;

  constructor(known, client, changed) {
    this.#known = new Map(Object.entries(known));
    this.#client = client;
    this.#changed = changed;
  }

  get = (principal) => {
    if (!this.#known.has(principal) && principal !== "") this.#want(principal);
    return this.#known.get(principal) ?? (principal || "anonymous");
  };

  // Somebody told us, for example by being here.
  learn(principal, name) {
    if (principal !== "" && name && this.#known.get(principal) !== name) this.#known.set(principal, name);
  }

  #want(principal) {
    this.#wanted.add(principal);
    if (this.#asking) return;
    this.#asking = true;
    queueMicrotask(() => this.#ask());
  }

  async #ask() {
    const principals = [...this.#wanted].slice(0, MAX_ASKED);
    try {
      const { data } = await this.#client.rpc("names", { principals });
      for (const principal of principals) this.#known.set(principal, data.names[principal] ?? principal);
      this.#changed();
    } catch {
      // Without an answer a principal stands for itself; it is asked for again when it is shown again.
    }
    for (const principal of principals) this.#wanted.delete(principal);
    this.#asking = false;
  }
}
