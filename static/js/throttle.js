// At once, then at most every `milliseconds`, the last call counting.
export function throttle(act, milliseconds, timers = globalThis) {
  let timer = null;
  let waiting = null;

  function due() {
    timer = null;
    if (waiting === null) return;
    const args = waiting;
    waiting = null;
    call(args);
  }

  function call(args) {
    timer = timers.setTimeout(due, milliseconds);
    act(...args);
  }

  return (...args) => {
    if (timer === null) call(args);
    else waiting = args;
  };
}
