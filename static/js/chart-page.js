import { Chart } from "./chart.js";
import { listen } from "./keyboard.js";
import { Live } from "./live.js";
import { byId, json, page } from "./page.js";
import { wirePause } from "./pause.js";
import { recordOf } from "./record.js";
import { read, write } from "./storage.js";

const WINDOW = "wirelog.chart.minutes";

const records = json("records", []).map((publication) => recordOf(publication));

const live = new Live(page, {
  record: (record) => chart.add(record),
  restart: (position) => chart.restart(position),
  subscribed: () => chart.seed(),
});
const chart = new Chart(page, records, live);

const pause = wirePause(live, {
  paused: () => chart.hold(true),
  resumed: () => chart.hold(false),
});

function show(minutes) {
  for (const item of byId("window").children) item.setAttribute("aria-pressed", String(Number(item.dataset.minutes) === minutes));
  chart.show(minutes);
  write(WINDOW, String(minutes));
}

byId("window").addEventListener("click", (event) => {
  const { minutes } = event.target.dataset;
  if (minutes !== undefined) show(Number(minutes));
});
byId("table-toggle").addEventListener("click", () => chart.toggleTable());
listen({ ".": pause, " ": pause, t: () => chart.toggleTable() });

const kept = Number(read(WINDOW));
const windows = [...byId("window").children].map((item) => Number(item.dataset.minutes));
show(windows.includes(kept) ? kept : 5);
live.start();
