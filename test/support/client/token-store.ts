import { setImmediate } from "node:timers/promises";
import type { StoredTokens } from "../../../src/client/client.ts";

/** Creates a store of serialized tokens, which several clients can share and which is read asynchronously. */
export function createTokenStore() {
  let text = "null";
  const change = (times: Partial<StoredTokens>) => {
    text = JSON.stringify({ ...JSON.parse(text), ...times });
  };
  return {
    load: async (): Promise<StoredTokens | null> => {
      await setImmediate();
      return JSON.parse(text);
    },
    save: async (tokens: StoredTokens | undefined) => {
      await setImmediate();
      text = JSON.stringify(tokens ?? null);
    },
    /** Makes a refresh due. The access token expires after `remainingMs`. */
    makeRefreshDue: (remainingMs = 60_000) =>
      change({ refreshAtMs: Date.now() - 1, expireAtMs: Date.now() + remainingMs }),
    /** Makes the access token expire. */
    expire: () => change({ refreshAtMs: Date.now() - 2, expireAtMs: Date.now() - 1 }),
    /** Returns the stored access token. */
    accessToken: (): string | undefined => JSON.parse(text)?.accessToken,
  };
}
