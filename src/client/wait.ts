/** Waits for work, at most until the call ends. @throws the signal's reason when the call ends first */
export function untilAborted<T>(signal: AbortSignal, work: T | Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
    Promise.resolve(work)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** Waits for a time, at most until the call ends. @throws the signal's reason when the call ends first */
export async function delay(signal: AbortSignal, delayMs: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const elapsed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, delayMs);
  });
  await untilAborted(signal, elapsed).finally(() => clearTimeout(timer));
}
