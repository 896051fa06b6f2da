// What the server says to a page: attributes of <main>, and JSON beside it.

const main = document.getElementById("content");

export const page = {
  main,
  stream: main.dataset.stream ?? "",
  title: main.dataset.title ?? "",
  epoch: main.dataset.epoch ?? "",
  head: Number(main.dataset.head ?? 0),
  tail: Number(main.dataset.tail ?? 1),
  marker: Number(main.dataset.marker ?? 0),
  principal: main.dataset.principal ?? "",
  writable: main.dataset.writable === "1",
  presence: main.dataset.presence === "1",
};

export function json(id, otherwise) {
  const element = document.getElementById(id);
  return element === null ? otherwise : JSON.parse(element.textContent);
}

export const byId = (id) => document.getElementById(id);

// A copy of the first element in <template id=…>.
export const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

// Writing the same text again would make the browser lay out for nothing.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
