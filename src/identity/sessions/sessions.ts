import { sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { purgeInBatches } from "../../infra/postgres/purge-in-batches.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { DAY_MS } from "../../kernel/durations.ts";
import { notFound } from "../../kernel/errors.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { Page, PageRequest, PageTokens } from "../../kernel/page.ts";
import { hashSecret } from "../tokens/secret-hash.ts";
import {
  createRefreshRotation,
  decodeOrThrow,
  type RefreshGrant,
  type Rotation,
} from "./refresh-rotation.ts";
import type { RefreshTokenCodec } from "./refresh-token-codec.ts";
import { createSessionReader, type Session } from "./session-reader.ts";
import { revokeWhere } from "./session-revocation.ts";

export type { RefreshGrant, Rotation, Session };

/** The caller's own session. */
export interface CurrentSession {
  accountId: string;
  sessionId: string;
}

/** Sessions. Each is a family of refresh tokens, of which only the latest is valid, and none after revocation. */
export interface Sessions {
  /** Creates a session, and revokes the account's oldest when it has more than 100. */
  create(tx: Tx, call: Call, accountId: string): Promise<RefreshGrant>;
  /**
   * Exchanges a refresh token for the next one. Reusing a token revokes its session.
   * @param getSubject reads the account in the same transaction: when it throws, the token is not rotated
   * @throws AppError unauthenticated for an invalid or reused token and for an ended session
   */
  rotate<Subject>(
    call: Call,
    token: string,
    getSubject: (tx: Tx, accountId: string) => Promise<Subject>,
  ): Promise<Rotation<Subject>>;
  /** Revokes a session. Repeating it has no effect. */
  revoke(call: Call, id: string): Promise<void>;
  /** Revokes the session of a refresh token, rotated or not. @throws AppError unauthenticated for an invalid token */
  revokeByRefreshToken(call: Call, token: string): Promise<void>;
  /** Revokes an active session of an account. @throws AppError not_found when the account has no such session */
  revokeOwned(call: Call, accountId: string, id: string): Promise<void>;
  /** Revokes all sessions of an account. */
  revokeAll(tx: Tx, accountId: string): Promise<void>;
  /** Revokes all sessions of an account except one. */
  revokeOthers(tx: Tx, accountId: string, id: string): Promise<void>;
  /**
   * Returns the caller's network if one of the account's last 100 sessions was created there; otherwise an empty
   * string. Queries without an account too, so that the response time does not reveal whether one exists.
   */
  findKnownNetwork(call: Call, accountId: string | undefined): Promise<string>;
  /** Lists the active sessions of an account, newest first. */
  list(call: Call, current: CurrentSession, page: PageRequest): Promise<Page<Session>>;
  /** Deletes sessions 30 days after their end. */
  purgeExpired(call: Call): Promise<void>;
}

/** Dependencies of the sessions. */
export interface SessionsOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  refreshTokens: RefreshTokenCodec;
}

/** Retention of ended sessions, in milliseconds. */
const RETENTION_MS = 30 * DAY_MS;
/** Maximum number of active sessions per account. */
const MAX_ACTIVE = 100;
const MAX_USER_AGENT = 200;

/** Creates the store of sessions. */
export function createSessions(options: SessionsOptions): Sessions {
  const { db, ids, clock, refreshTokens } = options;
  const { list, findKnownNetwork } = createSessionReader(options);
  const rotation = createRefreshRotation(options);

  return {
    list,
    findKnownNetwork,
    rotate: rotation.rotate,

    async create(tx, call, accountId) {
      const sessionId = ids();
      const token = refreshTokens.encode({ sessionId, generation: 1 });
      const now = clock.now();
      const expireTime = rotation.expiry(now);
      const userAgent = call.userAgent.slice(0, MAX_USER_AGENT).toWellFormed();
      await tx.query(sql`
        insert into session (id, account_id, refresh_hash, generation, client_address, user_agent,
          created_at, refreshed_at, expires_at)
        values (${sessionId}, ${accountId}, ${hashSecret(token)}, 1, ${call.clientAddress}, ${userAgent},
          ${now}, ${now}, ${expireTime})`);
      const excess = sql`id in (
        select id from session where account_id = ${accountId} and ended_at is null and expires_at > ${now}
        order by id desc offset ${MAX_ACTIVE})`;
      await revokeWhere(tx, now, excess);
      return { sessionId, token, expireTime };
    },

    async revoke(call, id) {
      await db.transact(call, (tx) => revokeWhere(tx, clock.now(), sql`id = ${id}`));
    },

    async revokeByRefreshToken(call, token) {
      const { sessionId } = decodeOrThrow(refreshTokens, token);
      await db.transact(call, (tx) => revokeWhere(tx, clock.now(), sql`id = ${sessionId}`));
    },

    async revokeOwned(call, accountId, id) {
      await db.transact(call, async (tx) => {
        const now = clock.now();
        const owned = sql`id = ${id} and account_id = ${accountId} and expires_at > ${now}`;
        if ((await revokeWhere(tx, now, owned)) === 0) throw notFound("session", id);
      });
    },

    async revokeAll(tx, accountId) {
      await revokeWhere(tx, clock.now(), sql`account_id = ${accountId}`);
    },

    async revokeOthers(tx, accountId, id) {
      await revokeWhere(tx, clock.now(), sql`account_id = ${accountId} and id <> ${id}`);
    },

    async purgeExpired(call) {
      const latest = new Date(clock.now().getTime() - RETENTION_MS);
      await purgeInBatches(
        db,
        call,
        (limit) => sql`
          delete from session where id in (
            select id from session where expires_at < ${latest} limit ${limit} for update skip locked
          ) returning 1 as one`,
      );
    },
  };
}
