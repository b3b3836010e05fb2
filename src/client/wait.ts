/** Returns the result of some work. @throws the reason of the signal when it is aborted first */
export function rejectOnAbort<T>(signal: AbortSignal, work: T | Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
    Promise.resolve(work)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** Waits for a time, in milliseconds. @throws the reason of the signal when it is aborted first */
export async function sleep(signal: AbortSignal, delayMs: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const elapsed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, delayMs);
  });
  await rejectOnAbort(signal, elapsed).finally(() => clearTimeout(timer));
}
