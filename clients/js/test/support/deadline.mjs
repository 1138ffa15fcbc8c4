// Nothing is waited for without a deadline, and nothing for a fixed time.

/** Long enough for a busy machine; nothing waits for it when all is well. */
const SOON_MS = 30_000;

/** What the promise brings, or an error that says what did not happen. */
export async function deadline(promise, what, ms = SOON_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in ${ms} ms: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits until the condition holds. One that throws does not hold yet. */
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
    if (Date.now() > end) throw new Error(`not in ${ms} ms: ${what} (last: ${last})`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
