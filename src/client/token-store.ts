/** The tokens of a session as plain JSON. They are credentials: keep them secret. */
export interface StoredTokens {
  accessToken: string;
  refreshToken: string;
  /** Time of the next refresh, in milliseconds since 1970. Defaults to the time when the service rejects the access token. */
  refreshAtMs?: number | undefined;
  /** Expiry of the access token, in milliseconds since 1970. Absent if unknown. */
  expireAtMs?: number | undefined;
}

/** Storage for the tokens of a session. Several clients, in tabs or processes, may share one. */
export interface TokenStore {
  /** Returns the tokens that were saved last. Called before each attempt of each call. */
  load(): StoredTokens | null | undefined | Promise<StoredTokens | null | undefined>;
  /** Saves the tokens; undefined deletes them. */
  save(tokens: StoredTokens | undefined): void | Promise<void>;
  /**
   * Runs `work` while no other client of the store runs any: reusing a refresh token revokes the session. Defaults to
   * the Web Locks of the browser, which its tabs share; processes that share a store need a lock of their own.
   */
  lock?<T>(work: () => Promise<T>): Promise<T>;
}

/** Creates a store in memory, for one client. */
export function createMemoryStore(): TokenStore {
  let stored: StoredTokens | undefined;
  return {
    lock: (work) => work(),
    load: () => stored,
    save: (tokens) => {
      stored = tokens;
    },
  };
}
