// Waits with a deadline. Tests never wait for a fixed time.

/** Long enough for a busy machine; only a failing test waits that long. */
const SOON_MS = 30_000;

/** Resolves with the promise, or rejects with an error that names `what` did not happen in time. */
export async function deadline(promise, what, ms = SOON_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`did not happen within ${ms} ms: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits until the condition returns a truthy value. An exception counts as false. */
export async function eventually(what, condition, ms = SOON_MS) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`did not happen within ${ms} ms: ${what} (last result: ${last})`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
