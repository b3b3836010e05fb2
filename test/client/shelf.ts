import { setTimeout } from "node:timers/promises";
import type { StoredTokens } from "../../src/client.ts";

/** A place for tokens as programs have: text that several share, and that is read with some delay. */
export function createShelf() {
  let text = "null";
  return {
    load: async (): Promise<StoredTokens | null> => {
      await setTimeout(1);
      return JSON.parse(text);
    },
    save: async (tokens: StoredTokens | undefined) => {
      await setTimeout(1);
      text = JSON.stringify(tokens ?? null);
    },
    /** Makes the access token old by the clock. */
    age: () => {
      text = JSON.stringify({ ...JSON.parse(text), refreshAtMs: Date.now() - 1 });
    },
    holds: (): string | undefined => JSON.parse(text)?.accessToken,
  };
}
