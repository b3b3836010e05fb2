import type { TokenStore } from "./token-store.ts";

/** A lock that runs one function at a time. */
export type Lock = NonNullable<TokenStore["lock"]>;

/**
 * Creates the lock of a session. It runs functions one after the other in this client, each within the lock of the store,
 * which defaults to a Web Lock.
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
