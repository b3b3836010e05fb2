/** Notifies the consumers of this process when a transaction that published events has committed. */
export interface WakeUp {
  notify(): void;
  /** Registers a listener. @returns a function that removes it */
  subscribe(listener: () => void): () => void;
}

export function createWakeUp(): WakeUp {
  const listeners = new Set<() => void>();
  return {
    notify() {
      for (const listener of listeners) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
