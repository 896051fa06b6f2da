// What stands above the first record of the feed.

import { setText } from "./page.js";

export function showTop(top, model, { loading, trouble, retry }) {
  if (!trouble || loading) setText(top, wordsOf(model, loading));
  else if (top.querySelector("button") === null) top.replaceChildren("Records could not be loaded. ", retryButton(retry));
}

function wordsOf(model, loading) {
  if (loading) return "Loading older records…";
  if (model.records.length === 0 && model.head === 0) return "Nothing here yet. The first record starts the wire.";
  if (!model.reachesStart) return "";
  return model.first > 1 ? "Older records were removed." : "The first record.";
}

function retryButton(retry) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button-text";
  button.textContent = "Try again";
  button.addEventListener("click", retry);
  return button;
}
