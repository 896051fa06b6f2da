// Single keys, outside of fields; `keys` maps a key to what it does.

const FIELDS = "input, textarea, select, [contenteditable]";
const PRESSED_BY_SPACE = "a, button, summary, " + FIELDS;

export function listen(keys) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]") !== null) return;
    const act = keys[event.key];
    const taken = event.key === " " ? PRESSED_BY_SPACE : FIELDS;
    if (act === undefined || (event.key !== "Escape" && event.target.matches(taken))) return;
    event.preventDefault();
    act(event);
  });
}
