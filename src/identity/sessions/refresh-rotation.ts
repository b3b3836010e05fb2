import { sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { DAY_MS } from "../../kernel/durations.ts";
import { AppError } from "../../kernel/errors.ts";
import { REFRESH_TOKEN_REUSED } from "../../kernel/principal.ts";
import { sessionEnded } from "../tokens/credential-errors.ts";
import { hashSecret } from "../tokens/secret-hash.ts";
import type { RefreshToken, RefreshTokenCodec } from "./refresh-token-codec.ts";
import { revokeWhere } from "./session-revocation.ts";

/** A valid refresh token of a session. */
export interface RefreshGrant {
  sessionId: string;
  token: string;
  expireTime: Date;
}

/** The result of a rotation: the next refresh token, and what was read of the account in the same transaction. */
export interface Rotation<Subject> {
  subject: Subject;
  grant: RefreshGrant;
}

/** Refresh token rotation with reuse detection (RFC 9700, 4.14.2). */
export interface RefreshRotation {
  /** Exchanges a refresh token for the next one; see `Sessions.rotate`. */
  rotate<Subject>(
    call: Call,
    token: string,
    getSubject: (tx: Tx, accountId: string) => Promise<Subject>,
  ): Promise<Rotation<Subject>>;
  /** Returns when a session expires that is created or refreshed now. */
  expiry(now: Date): Date;
}

/** Lifetime of a session without a refresh, in milliseconds. */
const LIFETIME_MS = 30 * DAY_MS;
/** Error codes for an account or a customer that has been deleted. */
const ABSENT_CODES: ReadonlySet<string> = new Set(["not_found", "failed_precondition"]);

/** Creates the rotation. */
export function createRefreshRotation(options: {
  db: Database;
  clock: Clock;
  refreshTokens: RefreshTokenCodec;
}): RefreshRotation {
  const { db, clock, refreshTokens } = options;
  const expiry = (now: Date): Date => new Date(now.getTime() + LIFETIME_MS);

  async function rotate<Subject>(
    call: Call,
    token: string,
    getSubject: (tx: Tx, accountId: string) => Promise<Subject>,
  ): Promise<Rotation<Subject>> {
    const { sessionId, generation } = decodeOrThrow(refreshTokens, token);
    // A reused token must revoke its session, so that case returns instead of throwing: a throw would roll back.
    const outcome = await db.transact(call, async (tx) => {
      const now = clock.now();
      const grant: RefreshGrant = {
        sessionId,
        token: refreshTokens.encode({ sessionId, generation: generation + 1 }),
        expireTime: expiry(now),
      };
      const [row] = await tx.query(sql<{ account_id: string }>`
        update session set refresh_hash = ${hashSecret(grant.token)}, generation = generation + 1,
          refreshed_at = ${now}, expires_at = ${grant.expireTime}
        where id = ${sessionId} and refresh_hash = ${hashSecret(token)} and ended_at is null
          and expires_at > ${now}
        returning account_id`);
      if (row === undefined) {
        const reused = sql`id = ${sessionId} and generation > ${generation}`;
        return (await revokeWhere(tx, now, reused)) > 0 ? "reused" : "ended";
      }
      const subject = await getSubject(tx, row.account_id).catch((error: unknown) => {
        throw error instanceof AppError && ABSENT_CODES.has(error.code) ? sessionEnded(error) : error;
      });
      return { subject, grant };
    });
    if (outcome === "reused") throw refreshTokenReused();
    if (outcome === "ended") throw sessionEnded();
    return outcome;
  }

  return { rotate, expiry };
}

/** Returns the content of a refresh token. @throws AppError unauthenticated for an invalid one */
export function decodeOrThrow(refreshTokens: RefreshTokenCodec, token: string): RefreshToken {
  const decoded = refreshTokens.decode(token);
  if (decoded !== undefined) return decoded;
  throw new AppError("unauthenticated", "Invalid refresh token. Sign in again.", {
    reason: "REFRESH_TOKEN_INVALID",
  });
}

function refreshTokenReused(): AppError {
  return new AppError(
    "unauthenticated",
    "This refresh token was already used, so its session has been revoked. Sign in again.",
    { reason: REFRESH_TOKEN_REUSED },
  );
}
