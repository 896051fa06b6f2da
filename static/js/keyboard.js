// Keys outside of fields; `keys` maps a key to what it does. Single ones can be switched off, for who speaks to the computer.

import { read, remove, write } from "./storage.js";

const FIELDS = "input, textarea, select, [contenteditable]";
const PRESSED_BY_SPACE = "a, button, summary, " + FIELDS;
// They mean the same in a field.
const ANYWHERE = new Set(["Escape", "Shift Escape", "F6", "Shift F6"]);
const OFF = "wirelog.keys.off";

export function listen(keys) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]") !== null) return;
    const name = nameOf(event);
    const act = keys[name];
    const taken = name === " " ? PRESSED_BY_SPACE : FIELDS;
    if (act === undefined || (!ANYWHERE.has(name) && event.target.matches(taken)) || (isSingle(name) && singleKeysOff())) return;
    event.preventDefault();
    act(event);
  });
}

// A letter or a sign is what it became by the shift key.
const nameOf = ({ key, shiftKey }) => (shiftKey && !isSingle(key) ? `Shift ${key}` : key);
const isSingle = (name) => name.length === 1;
const singleKeysOff = () => read(OFF) !== null;

// The choice between on and off.
export function wireSingleKeys(group) {
  const show = () => {
    for (const item of group.children) item.setAttribute("aria-pressed", String((item.dataset.singleKeys === "off") === singleKeysOff()));
  };

  group.addEventListener("click", (event) => {
    const { singleKeys } = event.target.dataset;
    if (singleKeys === "off") write(OFF, "1");
    if (singleKeys === "on") remove(OFF);
    show();
  });

  show();
}
