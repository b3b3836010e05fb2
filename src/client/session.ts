import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { type Account, AccountSchema, type Tokens } from "../../gen/cartwright/identity/v1/identity_pb.ts";
import type {
  IdentityService,
  RegisterRequestSchema,
  SignInRequestSchema,
} from "../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { createRefreshError } from "./refresh-error.ts";
import { isRefreshDue, postponeRefresh, scheduleRefresh } from "./refresh-schedule.ts";
import { createSessionLock } from "./session-lock.ts";
import type { StoredTokens, TokenStore } from "./token-store.ts";

/** The session of a signed-in account. Calls carry its access token, which is refreshed automatically. */
export interface Session {
  /** Creates an account and a session. */
  register(request: MessageInitShape<typeof RegisterRequestSchema>): Promise<Account>;
  /** Creates a session, in place of the current one. */
  signIn(request: MessageInitShape<typeof SignInRequestSchema>): Promise<Account>;
  /**
   * Deletes the tokens and revokes the session.
   * @throws ConnectError when the service could not be reached; the session then lasts until it is revoked or expires
   */
  signOut(): Promise<void>;
}

/** The access tokens of a session, which calls send. */
export interface SessionTokens {
  /** Returns the access token, refreshed when it is about to expire; undefined without a session. */
  getAccessToken(): Promise<string | undefined>;
  /** Returns a new access token in place of a rejected one; undefined when the session has ended. */
  replaceAccessToken(rejected: string): Promise<string | undefined>;
}

/**
 * Creates a session on a token store.
 * @param name the same for all clients of one service
 * @param identity returns the client of IdentityService, which itself sends calls through the session
 */
export function createSession(
  store: TokenStore,
  name: string,
  identity: () => Client<typeof IdentityService>,
): { session: Session; tokens: SessionTokens } {
  const withLock = createSessionLock(store, name);
  let refreshing: Promise<StoredTokens | undefined> | undefined;

  const load = async (): Promise<StoredTokens | undefined> => (await store.load()) ?? undefined;

  async function save(tokens: Tokens | undefined): Promise<StoredTokens> {
    if (tokens === undefined) throw new ConnectError("The response has no tokens.", Code.Internal);
    const { accessToken, refreshToken } = tokens;
    const stored = { accessToken, refreshToken, ...scheduleRefresh(tokens) };
    await store.save(stored);
    return stored;
  }

  async function start({ account, tokens }: { account?: Account; tokens?: Tokens }): Promise<Account> {
    await save(tokens);
    return account ?? create(AccountSchema);
  }

  /** Refreshes the session, unless another client has refreshed, postponed or ended it in the meantime. */
  async function refreshOnce(accessToken: string, isRejected: boolean): Promise<StoredTokens | undefined> {
    const stored = await load();
    if (stored?.accessToken !== accessToken || !(isRejected || isRefreshDue(stored))) return stored;
    let tokens: Tokens | undefined;
    try {
      ({ tokens } = await identity().refreshSession({ refreshToken: stored.refreshToken }));
    } catch (error) {
      return handleFailure(error, isRejected ? undefined : postponeRefresh(stored));
    }
    return save(tokens);
  }

  /** Ends the session if the service has rejected the refresh token; otherwise keeps it, and postpones the refresh. */
  async function handleFailure(error: unknown, postponed: StoredTokens | undefined): Promise<StoredTokens> {
    if (ConnectError.from(error).code === Code.Unauthenticated) {
      await store.save(undefined);
      throw error;
    }
    if (postponed === undefined) throw createRefreshError(error);
    await store.save(postponed);
    return postponed;
  }

  /**
   * Refreshes the session once for all concurrent callers. They share a failure too: another attempt would send the
   * same refresh token.
   * @param isRejected whether the service has rejected the access token; otherwise it is about to expire
   */
  function refresh(accessToken: string, isRejected: boolean): Promise<StoredTokens | undefined> {
    refreshing ??= withLock(() => refreshOnce(accessToken, isRejected)).finally(() => {
      refreshing = undefined;
    });
    return refreshing;
  }

  return {
    session: {
      register: (request) => withLock(async () => start(await identity().register(request))),
      signIn: (request) => withLock(async () => start(await identity().signIn(request))),
      signOut: () =>
        withLock(async () => {
          const stored = await load();
          if (stored === undefined) return;
          await store.save(undefined);
          await identity().signOut({ refreshToken: stored.refreshToken });
        }),
    },
    tokens: {
      async getAccessToken() {
        const stored = await load();
        const current = stored && isRefreshDue(stored) ? await refresh(stored.accessToken, false) : stored;
        return current?.accessToken;
      },
      async replaceAccessToken(rejected) {
        const refreshed = await refresh(rejected, true);
        // A concurrent refresh before the rejection was known has only been postponed.
        const isUnchanged = refreshed?.accessToken === rejected;
        return (isUnchanged ? await refresh(rejected, true) : refreshed)?.accessToken;
      },
    },
  };
}
