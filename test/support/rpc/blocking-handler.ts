/** Returns a catalogue whose ListProducts responds only after `release`. */
export function blockLists() {
  const { promise, resolve } = Promise.withResolvers<void>();
  let started = 0;
  let cancelled = 0;
  const catalog = {
    listProducts: async (_: unknown, { signal }: { signal: AbortSignal }) => {
      started += 1;
      signal.addEventListener("abort", () => {
        cancelled += 1;
      });
      await promise;
      return {};
    },
  };
  return { catalog, startedCount: () => started, cancelledCount: () => cancelled, release: resolve };
}

/** Returns a catalogue whose GetProduct responds only after `release`. */
export function blockReads() {
  const { promise, resolve } = Promise.withResolvers<void>();
  let started = 0;
  const catalog = {
    getProduct: async () => {
      started += 1;
      await promise;
      return { product: { sku: "A" } };
    },
  };
  return { catalog, startedCount: () => started, release: resolve };
}
