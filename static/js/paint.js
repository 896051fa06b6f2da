// Paint at most once a frame, at most every `interval()` milliseconds, and not while nobody looks.

export function painter(paint, interval = () => 0) {
  let asked = false;
  let last = -Infinity;

  function frame(now) {
    if (!asked || document.hidden) return;
    if (now - last < interval() - 4) {
      requestAnimationFrame(frame);
      return;
    }
    asked = false;
    last = now;
    paint();
  }

  document.addEventListener("visibilitychange", () => requestAnimationFrame(frame));
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(frame);
  };
}
