import { setTimeout } from "node:timers/promises";
import type { StoredTokens } from "../../../src/client/client.ts";

/** A place for tokens as programs have: text that several share, and that is read with some delay. */
export function createTokenStore() {
  let text = "null";
  const change = (times: Partial<StoredTokens>) => {
    text = JSON.stringify({ ...JSON.parse(text), ...times });
  };
  return {
    load: async (): Promise<StoredTokens | null> => {
      await setTimeout(1);
      return JSON.parse(text);
    },
    save: async (tokens: StoredTokens | undefined) => {
      await setTimeout(1);
      text = JSON.stringify(tokens ?? null);
    },
    /** Makes the access token old by the clock, and good for so long, milliseconds. */
    age: (leftMs = 60_000) => change({ refreshAtMs: Date.now() - 1, expireAtMs: Date.now() + leftMs }),
    /** Lets the access token end by the clock. */
    expire: () => change({ refreshAtMs: Date.now() - 2, expireAtMs: Date.now() - 1 }),
    holds: (): string | undefined => JSON.parse(text)?.accessToken,
  };
}
