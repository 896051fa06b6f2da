// The round trip to the server and back, as the median of the last five. Measured only while somebody looks.

import { RunningMedian } from "./median.js";

const EVERY_MS = 10_000;
const SAMPLES = 5;

export function measureLatency(live) {
  const median = new RunningMedian(SAMPLES);

  async function measure() {
    if (document.hidden || !live.live) return;
    const start = performance.now();
    try {
      // Asks for nothing: the cheapest question there is.
      await live.client.rpc("names", { principals: [] });
    } catch (error) {
      // A refusal took the same way; a lost connection is no measurement.
      if (!(error.code >= 100)) return;
    }
    live.dispatch({ type: "latency", milliseconds: Math.round(median.add(performance.now() - start)) });
  }

  live.client.on("connected", () => setTimeout(measure, 500));
  setInterval(measure, EVERY_MS);
}
