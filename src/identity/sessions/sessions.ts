import { type RawBuilder, sql } from "kysely";
import { type Database, prepared, type Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import type { Ids } from "../../kernel/ids.ts";
import { networkPrefix } from "../../kernel/network-prefix.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";
import { REFRESH_TOKEN_REUSED, SESSION_ENDED } from "../../kernel/principal.ts";
import { hashSecret } from "../tokens/secret-hash.ts";
import type { RefreshTokenCodec } from "./refresh-token-codec.ts";

/** A sign-in and what came of it, on one device. */
export interface Session {
  id: string;
  clientAddress: string;
  userAgent: string;
  /** It is the one that asks. */
  current: boolean;
  createTime: Date;
  refreshTime: Date;
  expireTime: Date;
}

/** A refresh token that is good. */
export interface Grant {
  sessionId: string;
  token: string;
  expireTime: Date;
}

interface ReadRow {
  id: string;
  client_address: string;
  user_agent: string;
  created_at: string;
  refreshed_at: string;
  expires_at: string;
}

/** How long a session goes on without a refresh, milliseconds. */
const LIFETIME_MS = 30 * 24 * 3_600_000;
/** How long one that has ended is kept, milliseconds. */
const KEEP_MS = 30 * 24 * 3_600_000;
/** How many an account may have that go on; the oldest ends when there are more. */
const MAX_LIVE = 100;
const MAX_USER_AGENT = 200;
/** How many rows a transaction deletes. */
const BATCH = 5_000;

// A page begins before an id; the first one before the highest there is.
const LIST = prepared(`
  select id, client_address, user_agent, created_at, refreshed_at, expires_at
  from session where account_id = $1 and id < $2 and ended_at is null and expires_at > $3 order by id desc limit $4`);
// Those that have ended too, which are kept for a while.
const ADDRESSES = prepared(`
  select distinct client_address from (
    select client_address from session where account_id = $1 order by id desc limit ${MAX_LIVE}) as late`);
const NOBODY = "00000000-0000-0000-0000-000000000000";
const HIGHEST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/** What answers about a session are made of. */
export const sessionTag = (id: string): string => `session:${id}`;

/** What the sessions are made of. */
export interface SessionsOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  refreshTokens: RefreshTokenCodec;
}

/** Sessions: each is a family of refresh tokens of which the last one is good, and none once it has ended. */
export function createSessions({ db, ids, clock, tokens, refreshTokens }: SessionsOptions) {
  const expiry = (now: Date): Date => new Date(now.getTime() + LIFETIME_MS);

  /** Ends those that go on and are meant. @returns how many */
  async function endAll(tx: Tx, meant: RawBuilder<unknown>): Promise<number> {
    const now = clock.now();
    const rows = await tx.query(sql<{ id: string }>`
      update session set refresh_hash = null, ended_at = ${now}, expires_at = least(expires_at, ${now})
      where ended_at is null and ${meant} returning id`);
    tx.invalidate(...rows.map(({ id }) => sessionTag(id)));
    return rows.length;
  }

  /** Ends the session of a token that is not its last one: somebody else has that. @returns whether it is such */
  async function endReplayed(tx: Tx, sessionId: string, generation: number): Promise<boolean> {
    return (await endAll(tx, sql`id = ${sessionId} and generation > ${generation}`)) === 1;
  }

  async function end(call: Call, id: string): Promise<void> {
    await db.transact(call, (tx) => endAll(tx, sql`id = ${id}`));
  }

  return {
    /** Begins one, and ends the account's oldest when it has too many. */
    async begin(tx: Tx, call: Call, accountId: string): Promise<Grant> {
      const sessionId = ids();
      const token = refreshTokens.make(sessionId, 1);
      const now = clock.now();
      const expireTime = expiry(now);
      const userAgent = call.userAgent.slice(0, MAX_USER_AGENT).toWellFormed();
      await tx.query(sql`
        insert into session (id, account_id, refresh_hash, generation, client_address, user_agent,
          created_at, refreshed_at, expires_at)
        values (${sessionId}, ${accountId}, ${hashSecret(token)}, 1, ${call.clientAddress}, ${userAgent},
          ${now}, ${now}, ${expireTime})`);
      await endAll(
        tx,
        sql`id in (
          select id from session where account_id = ${accountId} and ended_at is null and expires_at > ${now}
          order by id desc offset ${MAX_LIVE})`,
      );
      return { sessionId, token, expireTime };
    },

    /**
     * Spends a refresh token for the next one. What is to be known of its account is asked in the same transaction:
     * a token that is spent cannot be sent again when the rest fails.
     * @param holderOf whose it is; AppErrors for those who may not go on
     * @throws UNAUTHENTICATED for one that is not ours, or no longer good; when it is spent, its session has ended by
     *   that
     */
    async rotate<Holder>(
      call: Call,
      token: string,
      holderOf: (tx: Tx, accountId: string) => Promise<Holder>,
    ): Promise<{ holder: Holder; grant: Grant }> {
      const known = refreshTokens.read(token);
      if (known === undefined) throw invalid();
      const { sessionId, generation } = known;
      const outcome = await db.transact(call, async (tx) => {
        const next = refreshTokens.make(sessionId, generation + 1);
        const now = clock.now();
        const expireTime = expiry(now);
        const [row] = await tx.query(sql<{ account_id: string }>`
          update session set refresh_hash = ${hashSecret(next)}, generation = generation + 1,
            refreshed_at = ${now}, expires_at = ${expireTime}
          where id = ${sessionId} and refresh_hash = ${hashSecret(token)} and ended_at is null
            and expires_at > ${now}
          returning account_id`);
        if (row === undefined) return (await endReplayed(tx, sessionId, generation)) ? "replayed" : "ended";
        const holder = await holderOf(tx, row.account_id).catch((error: unknown) => {
          throw error instanceof AppError && GONE.has(error.code) ? ended(error) : error;
        });
        return { holder, grant: { sessionId, token: next, expireTime } };
      });
      if (outcome === "replayed") throw replayed();
      // By its seal it was good once.
      if (outcome === "ended") throw ended();
      return outcome;
    },

    /** Ends one. Done again it does nothing. */
    end,

    /** Ends that of a refresh token, spent or not. UNAUTHENTICATED for one that is not ours. */
    async endByToken(call: Call, token: string): Promise<void> {
      const known = refreshTokens.read(token);
      if (known === undefined) throw invalid();
      await end(call, known.sessionId);
    },

    /** Ends one of an account. NOT_FOUND when it has none with this id that goes on. */
    async revoke(call: Call, accountId: string, id: string): Promise<void> {
      await db.transact(call, async (tx) => {
        const ended = await endAll(
          tx,
          sql`id = ${id} and account_id = ${accountId} and expires_at > ${clock.now()}`,
        );
        if (ended === 0) throw notFound("session", id);
      });
    },

    /**
     * The caller's network, when one of the account's last sessions began there; otherwise empty. Who has no account
     * is not to be told by the time: it is asked for nobody's as well.
     */
    async knownNetwork(call: Call, accountId = NOBODY): Promise<string> {
      const rows = await db.read<{ client_address: string }>(call, ADDRESSES, [accountId]);
      const network = networkPrefix(call.clientAddress);
      return rows.some((row) => networkPrefix(row.client_address) === network) ? network : "";
    },

    /** Ends all of an account. */
    async endAllOf(tx: Tx, accountId: string): Promise<void> {
      await endAll(tx, sql`account_id = ${accountId}`);
    },

    /** Ends all of an account but one. */
    async endOthers(tx: Tx, accountId: string, id: string): Promise<void> {
      await endAll(tx, sql`account_id = ${accountId} and id <> ${id}`);
    },

    /** Those of an account that go on, newest first. */
    async list(
      call: Call,
      { accountId, sessionId }: { accountId: string; sessionId: string },
      page: PageRequest,
    ): Promise<Page<Session>> {
      const query = { list: "sessions", accountId };
      const size = resolvePageSize(page.pageSize);
      const [before = HIGHEST_ID] = tokens.readCursor(page.pageToken, query) ?? [];
      const rows = await db.read<ReadRow>(call, LIST, [accountId, before, clock.now(), size + 1]);
      return tokens.createPage(
        rows,
        size,
        query,
        ({ id }) => [id],
        (row) => fromRow(row, sessionId),
      );
    },

    /** Deletes those that ended long ago. */
    async purgeExpired(call: Call): Promise<void> {
      const before = new Date(clock.now().getTime() - KEEP_MS);
      for (let deleted = BATCH; deleted === BATCH; ) {
        const rows = await db.transact(call, (tx) =>
          tx.query(sql`
            delete from session where id in (
              select id from session where expires_at < ${before} limit ${BATCH} for update skip locked
            ) returning 1 as one`),
        );
        deleted = rows.length;
      }
    },
  };
}

/** Sessions as other files see them. */
export type Sessions = ReturnType<typeof createSessions>;

/** What is said of an account or a customer that is not there any more. */
const GONE: ReadonlySet<string> = new Set(["not_found", "failed_precondition"]);

function invalid(): AppError {
  return new AppError(
    "unauthenticated",
    "This refresh token is not one of ours. Send it as it came, or sign in again.",
    { reason: "REFRESH_TOKEN_INVALID" },
  );
}

function ended(cause?: unknown): AppError {
  return new AppError(
    "unauthenticated",
    "The session of this refresh token has ended. Sign in again.",
    { reason: SESSION_ENDED },
    cause,
  );
}

function replayed(): AppError {
  return new AppError(
    "unauthenticated",
    "This refresh token was used before, so somebody else may have it: its session is ended. Sign in again.",
    { reason: REFRESH_TOKEN_REUSED },
  );
}

function fromRow(row: ReadRow, currentId: string): Session {
  return {
    id: row.id,
    clientAddress: row.client_address,
    userAgent: row.user_agent,
    current: row.id === currentId,
    createTime: new Date(row.created_at),
    refreshTime: new Date(row.refreshed_at),
    expireTime: new Date(row.expires_at),
  };
}
