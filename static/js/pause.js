// The button that stops what moves, and its keys. Returns the toggle.

import { byId, setText } from "./page.js";

export function wirePause(live, { paused, resumed }) {
  const button = byId("pause");
  let was = false;

  function follow() {
    if (live.paused === was) return;
    was = live.paused;
    button.setAttribute("aria-pressed", String(was));
    setText(button, was ? "Resume" : "Pause");
    if (was) paused();
    else resumed();
  }

  live.onPause = follow;
  button.addEventListener("click", () => live.togglePause());
  return () => live.togglePause();
}
