/**
 * Runs `work` for each item of a source, for at most `concurrency` items at the same time. The next item is read
 * meanwhile. When one of them or the source fails, the running ones are awaited before the error is thrown.
 */
export async function mapConcurrent<T>(
  source: AsyncGenerator<T> | Generator<T>,
  concurrency: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  try {
    for (;;) {
      const item = await Promise.race([source.next(), failed.promise]);
      if (item.done === true) break;
      while (running.size === concurrency) await Promise.race([...running, failed.promise]);
      const run: Promise<void> = work(item.value)
        .catch(failed.reject)
        .finally(() => running.delete(run));
      running.add(run);
    }
    await Promise.race([Promise.all(running), failed.promise]);
  } finally {
    // Not awaited: a pending read of the source may never settle.
    Promise.resolve(source.return(undefined)).catch(() => {});
    await Promise.all(running);
  }
}
