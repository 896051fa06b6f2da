// auto, light or dark; kept in this browser. theme.js applies it before the first paint.

import { read, remove, write } from "./storage.js";

const KEY = "wirelog.theme";

// Returns what changes from light to dark and back.
export function wireTheme(group) {
  const show = (theme) => {
    for (const item of group.children) item.setAttribute("aria-pressed", String(item.dataset.themeChoice === theme));
  };

  function choose(theme) {
    if (theme === "auto") {
      remove(KEY);
      delete document.documentElement.dataset.theme;
    } else {
      write(KEY, theme);
      document.documentElement.dataset.theme = theme;
    }
    show(theme);
    // Canvases take no colours from style sheets.
    document.dispatchEvent(new CustomEvent("wirelog:theme"));
  }

  group.addEventListener("click", (event) => {
    const theme = event.target.dataset.themeChoice;
    if (theme !== undefined) choose(theme);
  });

  show(read(KEY) ?? "auto");
  return () => choose(isDark() ? "light" : "dark");
}

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme === undefined ? matchMedia("(prefers-color-scheme: dark)").matches : theme === "dark";
}
