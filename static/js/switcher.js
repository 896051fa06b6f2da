// "Find a stream": Ctrl/⌘ K, type, arrow, Enter. Without JavaScript the field is a form that filters the list.

import { rank } from "./switcher-rank.js";
import { listStreams } from "./streams.js";
import { streamUrl } from "./words.js";

const SHOWN = 8;

export function wireSwitcher(form) {
  if (form === null) return;
  const field = form.elements.q;
  const list = buildList();
  let streams = null;
  let chosen = 0;
  const mac = navigator.platform.startsWith("Mac");
  document.getElementById("switcher-key").textContent = mac ? "⌘K" : "Ctrl K";
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-controls", list.id);
  field.setAttribute("aria-expanded", "false");

  async function load() {
    try {
      streams = await listStreams();
    } catch {
      // Enter still searches the list of streams.
      streams = null;
    }
    show();
  }

  function show() {
    const open = streams !== null && document.activeElement === field;
    const found = open ? rank(streams, field.value).slice(0, SHOWN) : [];
    chosen = Math.min(chosen, Math.max(0, found.length - 1));
    list.replaceChildren(...(found.length > 0 ? found.map((stream, index) => option(stream, index)) : [nothing()]));
    list.hidden = !open;
    field.setAttribute("aria-expanded", String(open));
    if (found.length > 0) field.setAttribute("aria-activedescendant", `option-${chosen}`);
    else field.removeAttribute("aria-activedescendant");
  }

  function option(stream, index) {
    const item = document.createElement("a");
    item.className = "switcher-option";
    item.id = `option-${index}`;
    item.role = "option";
    item.href = streamUrl(stream.name);
    item.tabIndex = -1;
    item.setAttribute("aria-selected", String(index === chosen));
    const title = document.createElement("span");
    title.className = "switcher-title";
    title.dir = "auto";
    title.textContent = stream.title || stream.name;
    const name = document.createElement("span");
    name.className = "switcher-name";
    name.textContent = stream.name;
    item.append(title, name);
    return item;
  }

  function buildList() {
    const element = document.createElement("div");
    element.className = "switcher-list";
    element.id = "switcher-list";
    element.role = "listbox";
    element.hidden = true;
    element.ariaLabel = "Streams";
    // Not the field's blur before the click.
    element.addEventListener("pointerdown", (event) => event.preventDefault());
    form.append(element);
    return element;
  }

  function nothing() {
    const element = document.createElement("p");
    element.className = "switcher-none";
    element.textContent = "No stream has this name or title.";
    return element;
  }

  function key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps && !list.hidden) {
      event.preventDefault();
      const count = list.querySelectorAll("a").length;
      chosen = count === 0 ? 0 : (chosen + steps[event.key] + count) % count;
      show();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      field.blur();
    }
  }

  field.addEventListener("focus", () => (streams === null ? load() : show()));
  field.addEventListener("input", () => {
    chosen = 0;
    show();
  });
  field.addEventListener("blur", show);
  field.addEventListener("keydown", key);
  form.addEventListener("submit", (event) => {
    const link = list.querySelector('[aria-selected="true"]');
    if (list.hidden || link === null) return;
    event.preventDefault();
    location.assign(link.href);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
}
