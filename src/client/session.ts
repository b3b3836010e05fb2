import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { type Account, AccountSchema, type Tokens } from "../../gen/cartwright/identity/v1/identity_pb.ts";
import type {
  IdentityService,
  RegisterRequestSchema,
  SignInRequestSchema,
} from "../../gen/cartwright/identity/v1/identity_service_pb.ts";

/** What a session is kept as; plain JSON. Whoever has it is signed in: keep it secret. */
export interface StoredTokens {
  accessToken: string;
  refreshToken: string;
  /** From when on the next tokens are asked for, milliseconds since 1970. Absent: once the shop says so. */
  refreshAtMs?: number | undefined;
  /** When the access token ends, milliseconds since 1970. Absent: once the shop says so. */
  expireAtMs?: number | undefined;
}

/** Where the tokens of a session are kept. Several clients, in tabs or processes, may share one place. */
export interface TokenStore {
  /** What was saved last. Asked before each try of each call. */
  load(): StoredTokens | null | undefined | Promise<StoredTokens | null | undefined>;
  /** Keeps the tokens; undefined: forgets them. */
  save(tokens: StoredTokens | undefined): void | Promise<void>;
  /**
   * Runs work while nobody else does with whom the store is shared: a refresh token is good once, and two who
   * send the same end the session. By default by the Web Locks of the browser, which its tabs share;
   * processes that share a store need a lock of their own.
   */
  lock?<T>(work: () => Promise<T>): Promise<T>;
}

/** Somebody who signs in. Each call then carries their token, which is refreshed as it must be. */
export interface Session {
  /** Makes an account and begins a session with it. */
  register(request: MessageInitShape<typeof RegisterRequestSchema>): Promise<Account>;
  /** Begins a session, in place of the one before. */
  signIn(request: MessageInitShape<typeof SignInRequestSchema>): Promise<Account>;
  /**
   * Forgets the tokens and ends the session at the shop. When that throws, the shop was not told, and the
   * session lasts there until it is revoked or expires.
   */
  signOut(): Promise<void>;
}

/** What a session gives to calls. */
export interface SessionTokens {
  /** The access token, a new one when it is about to end; undefined when nobody has signed in. */
  accessToken(): Promise<string | undefined>;
  /** The access token that takes the place of one that is no longer good; undefined when the session has ended. */
  replace(accessToken: string): Promise<string | undefined>;
}

/** How long before its end an access token is replaced. A deadline is shorter, and no clock is exact. */
const marginMs = 60_000;
/** How long a refresh that failed is not tried again while the access token is good. */
const restMs = 5_000;
/**
 * How long before the token's end it is tried again, if that is later: nobody knows whether the shop did the one that
 * failed, and if it did, the next one ends the session.
 */
const lateMarginMs = 15_000;

/** @param name the same for all clients of one shop */
export function createSession(
  store: TokenStore,
  name: string,
  identity: () => Client<typeof IdentityService>,
): { session: Session; tokens: SessionTokens } {
  const exclusively = createQueue(store.lock?.bind(store) ?? webLock(name));
  let refresh: Promise<StoredTokens | undefined> | undefined;

  const load = async (): Promise<StoredTokens | undefined> => (await store.load()) ?? undefined;

  async function keep(tokens: Tokens | undefined): Promise<StoredTokens> {
    if (tokens === undefined) throw new ConnectError("The shop's answer has no tokens.", Code.Internal);
    const { accessToken, refreshToken } = tokens;
    const stored = { accessToken, refreshToken, ...timesOf(tokens) };
    await store.save(stored);
    return stored;
  }

  async function begin({ account, tokens }: { account?: Account; tokens?: Tokens }): Promise<Account> {
    await keep(tokens);
    return account ?? create(AccountSchema);
  }

  async function next(spent: string, isRefused: boolean): Promise<StoredTokens | undefined> {
    const stored = await load();
    // Somebody else has refreshed it, put that off, or ended it.
    if (stored?.accessToken !== spent || !(isRefused || isDue(stored))) return stored;
    const answer = identity().refreshSession({ refreshToken: stored.refreshToken });
    return answer.then(
      ({ tokens }) => keep(tokens),
      async (error: unknown) => {
        const hasEnded = ConnectError.from(error).code === Code.Unauthenticated;
        const later = hasEnded || isRefused ? undefined : putOff(stored);
        if (hasEnded || later !== undefined) await store.save(later);
        if (later !== undefined) return later;
        throw hasEnded ? error : inDoubt(error);
      },
    );
  }

  /**
   * Whoever comes meanwhile shares its end, a failure too: another try would send the same refresh token.
   * @param isRefused whether the shop does not take the token any more; otherwise it is about to end
   */
  function refreshed(accessToken: string, isRefused: boolean): Promise<StoredTokens | undefined> {
    refresh ??= exclusively(() => next(accessToken, isRefused)).finally(() => {
      refresh = undefined;
    });
    return refresh;
  }

  return {
    session: {
      register: (request) => exclusively(async () => begin(await identity().register(request))),
      signIn: (request) => exclusively(async () => begin(await identity().signIn(request))),
      signOut: () =>
        exclusively(async () => {
          const stored = await load();
          if (stored === undefined) return;
          await store.save(undefined);
          await identity().signOut({ refreshToken: stored.refreshToken });
        }),
    },
    tokens: {
      async accessToken() {
        const stored = await load();
        const current = stored && isDue(stored) ? await refreshed(stored.accessToken, false) : stored;
        return current?.accessToken;
      },
      async replace(accessToken) {
        const given = await refreshed(accessToken, true);
        // Who asked first took it to be good, and put the refresh off.
        const isSame = given?.accessToken === accessToken;
        return (isSame ? await refreshed(accessToken, true) : given)?.accessToken;
      },
    },
  };
}

/** Keeps the tokens for one client, for as long as it lives. */
export function createMemoryStore(): TokenStore {
  let kept: StoredTokens | undefined;
  return {
    lock: (work) => work(),
    load: () => kept,
    save: (tokens) => {
      kept = tokens;
    },
  };
}

/** By a clock that is far wrong each token is old at once: then the shop says when one has ended. */
function timesOf({ accessTokenExpireTime }: Tokens): Pick<StoredTokens, "refreshAtMs" | "expireAtMs"> {
  const expireAtMs = accessTokenExpireTime === undefined ? 0 : timestampMs(accessTokenExpireTime);
  return expireAtMs - Date.now() > 2 * marginMs ? { refreshAtMs: expireAtMs - marginMs, expireAtMs } : {};
}

function isDue({ refreshAtMs = Number.POSITIVE_INFINITY }: StoredTokens): boolean {
  return Date.now() >= refreshAtMs;
}

/** The same tokens, to be refreshed later; undefined: the access token has ended, and so there is no later. */
function putOff(stored: StoredTokens): StoredTokens | undefined {
  const { expireAtMs = 0 } = stored;
  const nowMs = Date.now();
  if (nowMs >= expireAtMs) return undefined;
  const laterMs = Math.max(nowMs + restMs, expireAtMs - lateMarginMs);
  return { ...stored, refreshAtMs: Math.min(laterMs, expireAtMs) };
}

type Lock = NonNullable<TokenStore["lock"]>;

function webLock(name: string): Lock | undefined {
  // Neither older Nodes nor pages without https have them.
  const locks = globalThis.navigator?.locks;
  return locks && (async (work) => await locks.request(`cartwright session ${name}`, work));
}

/** One work after the other, each within the lock, if there is one. */
function createQueue(lock: Lock = (work) => work()): Lock {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(() => lock(work));
    last = mine.catch(() => {});
    return mine;
  };
}

/** A class of its own would not do: for ConnectError, `instanceof` looks at the shape. */
const doubts = new WeakSet<object>();

/** Whether a call failed because its session could not be refreshed, and nobody knows whether it was. */
export function isRefreshInDoubt(error: unknown): boolean {
  return error instanceof ConnectError && doubts.has(error);
}

function inDoubt(thrown: unknown): ConnectError {
  const { rawMessage, code, metadata, details } = ConnectError.from(thrown);
  const error = new ConnectError(
    `The session could not be refreshed: ${rawMessage} The next call tries again; if the shop has refreshed it, and only its answer was lost, that ends the session, and you sign in anew.`,
    code,
    metadata,
    undefined,
    thrown,
  );
  error.details = details;
  doubts.add(error);
  return error;
}
