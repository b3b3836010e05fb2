import type { TokenStore } from "./token-store.ts";

/** Runs one piece of work at a time. */
export type Lock = NonNullable<TokenStore["lock"]>;

/**
 * Creates the lock of a session: one piece of work after the other in this client, each within the store's lock or, by
 * default, a Web Lock.
 * @param name the same for all clients of one service
 */
export function createSessionLock(store: TokenStore, name: string): Lock {
  return createQueue(store.lock?.bind(store) ?? webLock(name));
}

function webLock(name: string): Lock | undefined {
  // Absent in older versions of Node and in pages without https.
  const locks = globalThis.navigator?.locks;
  return locks && (async (work) => await locks.request(`cartwright session ${name}`, work));
}

function createQueue(lock: Lock = (work) => work()): Lock {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(() => lock(work));
    last = result.catch(() => {});
    return result;
  };
}
