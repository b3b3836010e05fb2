/** A catalogue whose lists are answered when they are let go. */
export function holdLists() {
  const { promise, resolve } = Promise.withResolvers<void>();
  let held = 0;
  const catalog = {
    listProducts: async () => {
      held += 1;
      await promise;
      return {};
    },
  };
  return { catalog, count: () => held, letGo: resolve };
}
