/** Names of the topics that a transaction has published. */
type Topics = ReadonlySet<string>;

/** Notifies the consumers of this process when a transaction that published events has committed. */
export interface WakeUp {
  notify(topics: Topics): void;
  /** Registers a listener. @returns a function that removes it */
  subscribe(listener: (topics: Topics) => void): () => void;
}

export function createWakeUp(): WakeUp {
  const listeners = new Set<(topics: Topics) => void>();
  return {
    notify(topics) {
      for (const listener of listeners) listener(topics);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
