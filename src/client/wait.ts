/** Waits for work, but not past the end of the call. @throws the signal's reason when the call ends first */
export function untilAborted<T>(signal: AbortSignal, work: T | Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const leave = () => reject(signal.reason);
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave);
    Promise.resolve(work)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", leave));
  });
}

/** Lets time pass, but not past the end of the call. @throws the signal's reason when the call ends first */
export async function pause(signal: AbortSignal, delayMs: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const elapsed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, delayMs);
  });
  await untilAborted(signal, elapsed).finally(() => clearTimeout(timer));
}
