// Not a module: it runs before the first paint, so that no page flashes in the other theme.
(() => {
  try {
    const theme = localStorage.getItem("wirelog.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage can be forbidden; then the system decides.
  }
})();
