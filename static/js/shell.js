// What every page of somebody signed in has: the theme, the menus, the dialogs, the search for a stream.

import { listen, wireSingleKeys } from "./keyboard.js";
import { goToPart } from "./parts.js";
import { wireSwitcher } from "./switcher.js";
import { wireTheme } from "./theme-choice.js";
import { goToUnread, markAllRead } from "./unread-streams.js";

function toggleDialog(id) {
  const dialog = document.getElementById(id);
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  const closer = event.target.closest("[data-closes]");
  if (opener !== null) toggleDialog(opener.dataset.opens);
  if (closer !== null) document.getElementById(closer.dataset.closes).close();
  // A menu closes when something else is clicked, or something in it that does its work elsewhere.
  for (const menu of document.querySelectorAll(".menu[open]")) {
    if (!menu.contains(event.target) || opener !== null) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll(".menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
    event.preventDefault();
  }
});

// Only where the browser allows it: over https, and on this machine.
if (navigator.clipboard !== undefined) {
  for (const button of document.querySelectorAll("[data-copies]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
      button.textContent = "Copied";
    });
  }
}

wireSwitcher(document.getElementById("switcher"));
wireSingleKeys(document.getElementById("single-keys"));
listen({
  "?": () => toggleDialog("shortcuts"),
  F6: () => goToPart(1),
  "Shift F6": () => goToPart(-1),
  n: () => goToUnread(1),
  p: () => goToUnread(-1),
  "Shift Escape": markAllRead,
  d: wireTheme(document.getElementById("theme")),
});
