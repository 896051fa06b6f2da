// The state of the connection as one sees it: the indicator, the banner, the notice, and the end of the wire.

import { byId, setText } from "./page.js";

export function showConnection(view, ending, actions) {
  showIndicator(byId("indicator"), view);
  showEnd(byId("wire-end"), view);
  showBanner(byId("banner"), view.banner, actions);
  if (ending !== null) showNotice(byId("notice"), ending);
  else if (byId("notice") !== null) byId("notice").hidden = true;
  document.documentElement.dataset.connection = view.name;
}

function showIndicator(indicator, view) {
  if (indicator === null) return;
  indicator.dataset.state = view.name;
  indicator.querySelector(".dot").dataset.tone = view.tone;
  setText(indicator.querySelector(".indicator-word"), view.word);
  setText(indicator.querySelector(".indicator-detail"), view.detail);
}

const END_WORDS = { live: "", connecting: "", paused: "paused", denied: "not connected", "catching-up": "catching up" };

function showEnd(end, view) {
  if (end === null) return;
  end.dataset.tone = view.tone;
  setText(byId("wire-end-word"), END_WORDS[view.name] ?? "waiting for the connection");
}

function showBanner(banner, content, actions) {
  banner.hidden = content === null;
  if (content === null) return;
  banner.dataset.tone = content.tone;
  const [sentence, button] = banner.children.length === 2 ? banner.children : build(banner);
  setText(sentence, content.text);
  button.hidden = content.action === null;
  if (content.action === null) return;
  const [label, act] = actions[content.action];
  setText(button, label);
  button.onclick = act;
}

function build(banner) {
  const sentence = document.createElement("span");
  const button = document.createElement("button");
  button.className = "button-text";
  button.type = "button";
  banner.replaceChildren(sentence, button);
  return [sentence, button];
}

function showNotice(notice, { heading, text, action }) {
  if (notice === null || (!notice.hidden && notice.dataset.heading === heading)) return;
  const title = document.createElement("h2");
  const sentence = document.createElement("p");
  const link = document.createElement("a");
  title.textContent = heading;
  sentence.textContent = text;
  link.textContent = action.label;
  link.className = "button";
  link.href = action.href || location.href;
  notice.replaceChildren(title, sentence, link);
  notice.dataset.heading = heading;
  notice.hidden = false;
}
