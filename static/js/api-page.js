// The documentation of the HTTP API: opens the call that the address names, and tries calls with a key that only this page knows.

import { answerText, headerLines, requestOf, tellsError } from "./api-try.js";

const key = document.getElementById("api-key");

function openNamed() {
  const call = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (call === null || call.tagName !== "DETAILS") return;
  call.open = true;
  call.scrollIntoView();
}

async function send(form) {
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const fields = { url: form.elements.url.value, body: form.elements.body?.value, key: key.value.trim() };
    const { url, init } = requestOf(form.dataset, fields);
    const started = performance.now();
    const response = await fetch(url, init);
    const text = await response.text();
    const milliseconds = Math.round(performance.now() - started);
    show(form, response.ok && !tellsError(text), `${response.status} ${response.statusText} · ${milliseconds} ms`, headerLines(response.headers), answerText(text));
  } catch (error) {
    show(form, false, `No answer: ${error.message}`, "", "");
  } finally {
    button.disabled = false;
  }
}

function show(form, good, status, headers, content) {
  const [statusLine, headerBlock, contentBlock] = form.querySelector(".call-answer").children;
  statusLine.textContent = status;
  statusLine.dataset.tone = good ? "good" : "bad";
  headerBlock.textContent = headers;
  headerBlock.hidden = headers === "";
  contentBlock.textContent = content;
  contentBlock.hidden = content === "";
  form.querySelector(".call-answer").hidden = false;
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest(".call-try");
  if (form === null) return;
  event.preventDefault();
  send(form);
});
addEventListener("hashchange", openNamed);
openNamed();
