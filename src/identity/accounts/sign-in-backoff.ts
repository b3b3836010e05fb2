import { createHash } from "node:crypto";
import { type RawBuilder, sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { purgeInBatches } from "../../infra/postgres/purge-in-batches.ts";
import { type Call, internalCall, withoutAudit } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { MINUTE_MS } from "../../kernel/durations.ts";
import { AppError } from "../../kernel/errors.ts";
import { networkPrefix } from "../../kernel/network-prefix.ts";

/** The leaky bucket that counts the failures of one kind of subject. */
interface FailureBudget {
  /** Number of failures before the first wait. */
  freeFailures: number;
  /** Time after which one failure is no longer counted, in milliseconds. */
  leakMs: number;
}

const ACCOUNT: FailureBudget = { freeFailures: 5, leakMs: 5 * MINUTE_MS };
/** Larger than an account's, because the people of an office share an address. */
const ADDRESS: FailureBudget = { freeFailures: 20, leakMs: MINUTE_MS };
/** The first wait, which doubles with each further failure, and the longest. */
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 5 * MINUTE_MS;
/** Written to `blocked_until` when there is no wait. The epoch is in the past by any clock. */
const NOT_BLOCKED = new Date(0);

/** A counted attempt: its subject, and until when it blocks the next one. */
interface CountedAttempt {
  readonly subject: Buffer;
  readonly blockedUntil: string;
}

/** An attempt to sign in, counted as a failure for the account and the address until it is cleared or cancelled. */
export interface SignInAttempt {
  readonly account: CountedAttempt;
  readonly address: CountedAttempt;
}

/**
 * Exponential backoff against password guessing, per account (whether it exists or not) and per address. An attempt is
 * counted before the password is verified, so that concurrent attempts get no more tries than sequential ones.
 * An account loses one failure every 5 minutes and an address one a minute. A correct password clears the account's
 * failures and is not counted for the address.
 */
export interface SignInBackoff {
  /**
   * Counts an attempt to sign in.
   * @param knownNetwork network in which the account has had a session: its attempts are counted separately, so
   *   that attempts from elsewhere cannot lock the owner out. Empty for an unknown network
   * @throws AppError resource_exhausted, with the time to wait, after too many failures
   */
  reserve(call: Call, email: string, knownNetwork: string): Promise<SignInAttempt>;
  /** Clears the account's failures after a correct password, and undoes the attempt of the address. */
  clear(tx: Tx, attempt: SignInAttempt): Promise<void>;
  /** Undoes an attempt whose password was not verified. */
  cancel(attempt: SignInAttempt): Promise<void>;
  /** Deletes counters that have leaked to zero, which takes longer than any wait. */
  purgeExpired(call: Call): Promise<void>;
}

/** Creates the backoff. Its counters are rows, shared by all instances. */
export function createSignInBackoff({ db, clock }: { db: Database; clock: Clock }): SignInBackoff {
  async function reserveFor(tx: Tx, subject: Buffer, budget: FailureBudget): Promise<CountedAttempt> {
    const now = clock.now();
    const [row] = await tx.query(countAttempt(subject, budget, now));
    if (row !== undefined) return { subject, blockedUntil: row.blocked_until };
    const [blocked] = await tx.query(sql<{ blocked_until: string }>`
      select blocked_until from sign_in_failure where subject = ${subject}`);
    throw tooManyFailures(new Date(blocked?.blocked_until ?? now).getTime() - now.getTime());
  }

  return {
    reserve(call, email, knownNetwork) {
      const suffix = knownNetwork === "" ? "" : `@${knownNetwork}`;
      const accountSubject = hashSubject(`account:${email.toLowerCase()}${suffix}`);
      const addressSubject = hashSubject(`address:${networkPrefix(call.clientAddress)}`);
      return db.transact(withoutAudit(call), async (tx) => {
        // The same order in every transaction prevents deadlocks.
        const address = await reserveFor(tx, addressSubject, ADDRESS);
        return { address, account: await reserveFor(tx, accountSubject, ACCOUNT) };
      });
    },

    async clear(tx, { account, address }) {
      await tx.query(undoAttempt(address));
      await tx.query(sql`delete from sign_in_failure where subject = ${account.subject}`);
    },

    async cancel({ account, address }) {
      await db.transact(internalCall(), async (tx) => {
        await tx.query(undoAttempt(address));
        await tx.query(undoAttempt(account));
      });
    },

    async purgeExpired(call) {
      const now = clock.now();
      // Subjects are hashes, so addresses and accounts cannot be distinguished: the slower leak applies to both.
      const { leakMs } = ACCOUNT;
      const latest = new Date(now.getTime() - leakMs);
      await purgeInBatches(
        db,
        call,
        (limit) => sql`
          delete from sign_in_failure where subject in (
            select subject from sign_in_failure
            where updated_at <= ${latest}
              and updated_at + failures * ${leakMs} * interval '1 millisecond' <= ${now}
            limit ${limit} for update skip locked
          ) returning 1 as one`,
      );
    },
  };
}

/**
 * Counts an attempt unless the subject is blocked; then no row is returned. Concurrent attempts wait for each other at
 * the row. `updated_at` is the time from which the remaining failures leak.
 */
function countAttempt(
  subject: Buffer,
  { freeFailures, leakMs }: FailureBudget,
  now: Date,
): RawBuilder<{ blocked_until: string }> {
  const leaked = sql`greatest(floor(extract(epoch from ${now}::timestamptz - f.updated_at) * 1000 / ${leakMs}), 0)`;
  const failures = sql`greatest(f.failures - ${leaked}, 0) + 1`;
  return sql`
    insert into sign_in_failure as f (subject, failures, blocked_until, updated_at)
    values (${subject}, 1, ${NOT_BLOCKED}, ${now})
    on conflict (subject) do update set
      failures = ${failures},
      blocked_until = case when ${failures} < ${freeFailures} then ${NOT_BLOCKED}
        else ${now}::timestamptz + least(${MAX_WAIT_MS}, ${FIRST_WAIT_MS} * 2 ^ least(${failures} - ${freeFailures}, 30))
          * interval '1 millisecond' end,
      updated_at = case when ${leaked} >= f.failures then ${now}
        else f.updated_at + ${leaked} * ${leakMs} * interval '1 millisecond' end
    where f.blocked_until <= ${now}
    returning blocked_until`;
}

/** Undoes an attempt of its subject, and ends the wait if this attempt caused it. */
function undoAttempt({ subject, blockedUntil }: CountedAttempt): RawBuilder<unknown> {
  return sql`
    update sign_in_failure set
      failures = greatest(failures - 1, 0),
      blocked_until = case when blocked_until = ${blockedUntil} then ${NOT_BLOCKED} else blocked_until end
    where subject = ${subject}`;
}

function hashSubject(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function tooManyFailures(waitMs: number): AppError {
  const retryAfterMs = Math.max(waitMs, 1);
  const seconds = Math.ceil(retryAfterMs / 1_000);
  return new AppError("resource_exhausted", `Too many failed sign-in attempts. Retry in ${seconds} s.`, {
    reason: "SIGN_IN_BACKOFF",
    quota: "sign-in",
    retryAfterMs,
  });
}
