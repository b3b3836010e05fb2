import { createHash } from "node:crypto";
import { type RawBuilder, sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { purgeInBatches } from "../../infra/postgres/purge-in-batches.ts";
import { prepareDynamic } from "../../infra/postgres/statement.ts";
import { type Call, internalCall, withoutAudit } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { MINUTE_MS } from "../../kernel/durations.ts";
import { AppError } from "../../kernel/errors.ts";
import { networkPrefix, sitePrefix } from "../../kernel/network-prefix.ts";

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
/** Four times an address's, for the 65,536 networks of /64 in an IPv6 /48. */
const SITE: FailureBudget = { freeFailures: 80, leakMs: MINUTE_MS / 4 };
/** The first wait, which doubles with each further failure, and the longest. */
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 5 * MINUTE_MS;
/** Written to `blocked_until` when there is no wait. The epoch is in the past by any clock. */
const NOT_BLOCKED = new Date(0);

/** Whose failures are counted, and how many are allowed. */
interface Subject {
  readonly hash: Buffer;
  readonly budget: FailureBudget;
}

/** A counted attempt: the hash of its subject, and until when it blocks the next one. */
interface CountedAttempt {
  readonly hash: Buffer;
  readonly blockedUntil: string;
}

/** An attempt to sign in, counted as a failure for the account and its networks until it is cleared or cancelled. */
export interface SignInAttempt {
  readonly account: CountedAttempt;
  /** The address and, for an unknown IPv6 network, its /48. */
  readonly networks: readonly CountedAttempt[];
}

/**
 * Exponential backoff against password guessing, per account (whether it exists or not), per address and per IPv6 /48. An
 * attempt is counted before the password is verified, so that concurrent attempts get no more tries than sequential ones.
 * An account loses one failure every 5 minutes, an address one a minute and a /48 four a minute. A correct password clears
 * the account's failures and is not counted for the networks.
 */
export interface SignInBackoff {
  /**
   * Counts an attempt to sign in.
   * @param knownNetwork network in which the account has had a session: its attempts are counted for this network
   *   only, so that attempts from elsewhere cannot lock the owner out. Empty for an unknown network
   * @throws AppError resource_exhausted, with the time to wait, after too many failures
   */
  reserve(call: Call, email: string, knownNetwork: string): Promise<SignInAttempt>;
  /** Clears the account's failures after a correct password, and undoes the attempt of the networks. */
  clear(tx: Tx, attempt: SignInAttempt): Promise<void>;
  /** Undoes an attempt whose password was not verified. */
  cancel(attempt: SignInAttempt): Promise<void>;
  /** Deletes counters that have leaked to zero, which takes longer than any wait. */
  purgeExpired(call: Call): Promise<void>;
}

/** Creates the backoff. Its counters are rows, shared by all instances. */
export function createSignInBackoff({ db, clock }: { db: Database; clock: Clock }): SignInBackoff {
  /** Returns the longest wait of these subjects, in milliseconds. */
  async function waitMsOf(tx: Tx, subjects: readonly Subject[], now: Date): Promise<number> {
    const rows = await tx.query(sql<{ blocked_until: string }>`
      select blocked_until from sign_in_failure
      where subject in (${sql.join(subjects.map(({ hash }) => hash))}) and blocked_until > ${now}`);
    return Math.max(...rows.map((row) => new Date(row.blocked_until).getTime() - now.getTime()), 1);
  }

  async function undoAll(tx: Tx, attempts: readonly CountedAttempt[]): Promise<void> {
    for (const attempt of attempts) await tx.query(undoAttempt(attempt));
  }

  return {
    reserve(call, email, knownNetwork) {
      const subjects = subjectsOf(call, email, knownNetwork);
      return db.transact(withoutAudit(call), async (tx) => {
        const now = clock.now();
        const counted = await tx.query(prepareDynamic(countAttempts(subjects, now)));
        const attempts = counted.map(({ subject: hash, blocked_until: blockedUntil }) => ({
          hash,
          blockedUntil,
        }));
        const [account] = attempts.splice(subjects.length - 1);
        // Not of the counted subjects: this attempt may block them, but it is rolled back.
        if (account === undefined) {
          throw tooManyFailures(await waitMsOf(tx, subjects.slice(counted.length), now));
        }
        return { account, networks: attempts };
      });
    },

    async clear(tx, { account, networks }) {
      await undoAll(tx, networks);
      await tx.query(sql`delete from sign_in_failure where subject = ${account.hash}`);
    },

    async cancel({ account, networks }) {
      await db.transact(internalCall(), (tx) => undoAll(tx, [...networks, account]));
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

/** Returns the subjects of an attempt, the account last: the same order in every transaction prevents deadlocks. */
function subjectsOf({ clientAddress }: Call, email: string, knownNetwork: string): Subject[] {
  const site = knownNetwork === "" ? sitePrefix(clientAddress) : undefined;
  const suffix = knownNetwork === "" ? "" : `@${knownNetwork}`;
  return [
    { hash: hashSubject(`address:${networkPrefix(clientAddress)}`), budget: ADDRESS },
    ...(site === undefined ? [] : [{ hash: hashSubject(`site:${site}`), budget: SITE }]),
    { hash: hashSubject(`account:${email.toLowerCase()}${suffix}`), budget: ACCOUNT },
  ];
}

/**
 * Counts an attempt of each subject, in order, up to the first one that is blocked, and returns those that were counted.
 * One statement for all of them, because each round trip delays the sign-in.
 */
function countAttempts(
  subjects: readonly Subject[],
  now: Date,
): RawBuilder<{ subject: Buffer; blocked_until: string }> {
  const name = (index: number) => sql.id(`counted_${index}`);
  const parts = subjects.map((subject, index) => {
    // The reference makes PostgreSQL run the parts in order.
    const condition = index === 0 ? sql`true` : sql`exists (select from ${name(index - 1)})`;
    return sql`${name(index)} as (${countAttempt(subject, now, condition)})`;
  });
  const rows = subjects.map((_, index) => sql`select ${index}::int as position, * from ${name(index)}`);
  return sql`
    with ${sql.join(parts)}
    select subject, blocked_until from (${sql.join(rows, sql` union all `)}) as counted order by position`;
}

/**
 * Counts an attempt if the condition holds, unless the subject is blocked; then no row is returned. Concurrent attempts
 * wait for each other at the row. `updated_at` is the time from which the remaining failures leak.
 */
function countAttempt(
  { hash, budget: { freeFailures, leakMs } }: Subject,
  now: Date,
  condition: RawBuilder<unknown>,
): RawBuilder<unknown> {
  const leaked = sql`greatest(floor(extract(epoch from ${now}::timestamptz - f.updated_at) * 1000 / ${leakMs}), 0)`;
  const failures = sql`greatest(f.failures - ${leaked}, 0) + 1`;
  return sql`
    insert into sign_in_failure as f (subject, failures, blocked_until, updated_at)
    select ${hash}::bytea, 1, ${NOT_BLOCKED}::timestamptz, ${now}::timestamptz where ${condition}
    on conflict (subject) do update set
      failures = ${failures},
      blocked_until = case when ${failures} < ${freeFailures} then ${NOT_BLOCKED}
        else ${now}::timestamptz + least(${MAX_WAIT_MS}, ${FIRST_WAIT_MS} * 2 ^ least(${failures} - ${freeFailures}, 30))
          * interval '1 millisecond' end,
      updated_at = case when ${leaked} >= f.failures then ${now}
        else f.updated_at + ${leaked} * ${leakMs} * interval '1 millisecond' end
    where f.blocked_until <= ${now}
    returning subject, blocked_until`;
}

/** Undoes an attempt of its subject, and ends the wait if this attempt caused it. */
function undoAttempt({ hash, blockedUntil }: CountedAttempt): RawBuilder<unknown> {
  return sql`
    update sign_in_failure set
      failures = greatest(failures - 1, 0),
      blocked_until = case when blocked_until = ${blockedUntil} then ${NOT_BLOCKED} else blocked_until end
    where subject = ${hash}`;
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
