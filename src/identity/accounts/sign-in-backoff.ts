import { createHash } from "node:crypto";
import { sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { type Call, internalCall, withoutAudit } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError } from "../../kernel/errors.ts";
import { networkPrefix } from "../../kernel/network-prefix.ts";

/** How many failures are free, and after how long one of them is no longer held against anybody, milliseconds. */
interface Allowance {
  free: number;
  leakMs: number;
}

const ACCOUNT: Allowance = { free: 5, leakMs: 5 * 60_000 };
/** Many people may share one, an office say, and mistype now and then. */
const ADDRESS: Allowance = { free: 20, leakMs: 60_000 };
/** The first wait, which doubles with each further failure, and the longest, milliseconds. */
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 5 * 60_000;
/** Nobody has to wait. Not even those whose own time is a little behind that of the try before. */
const FREELY = new Date(0);
/** How many rows a transaction deletes. */
const BATCH = 5_000;

/** A try that is counted already: for whom, and until when it blocks the next one. */
interface Count {
  readonly subject: Buffer;
  readonly blockedUntil: string;
}

/** A try to sign in, which counts as a failure until it is forgiven or given back. */
export interface Attempt {
  readonly account: Count;
  readonly address: Count;
}

/**
 * Slows down who guesses passwords: by account, whether it exists or not, and by address. A try is counted before the
 * password is looked at, so that no more pass at once than one after the other. Counts leak: an account is forgiven
 * one failure in 5 minutes, an address one a minute, however often somebody tries meanwhile; and a right password
 * forgives its account, and costs its address nothing.
 */
export function createSignInBackoff({ db, clock }: { db: Database; clock: Clock }) {
  /** Counts a try; of tries at once each waits for the one before. `updated_at` is from when the rest leaks. */
  async function count(tx: Tx, subject: Buffer, { free, leakMs }: Allowance): Promise<Count> {
    const now = clock.now();
    const leaked = sql`greatest(floor(extract(epoch from ${now}::timestamptz - f.updated_at) * 1000 / ${leakMs}), 0)`;
    const failures = sql`greatest(f.failures - ${leaked}, 0) + 1`;
    const [row] = await tx.query(sql<{ blocked_until: string }>`
      insert into sign_in_failure as f (subject, failures, blocked_until, updated_at)
      values (${subject}, 1, ${FREELY}, ${now})
      on conflict (subject) do update set
        failures = ${failures},
        blocked_until = case when ${failures} < ${free} then ${FREELY}
          else ${now}::timestamptz + least(${MAX_WAIT_MS}, ${FIRST_WAIT_MS} * 2 ^ least(${failures} - ${free}, 30))
            * interval '1 millisecond' end,
        updated_at = case when ${leaked} >= f.failures then ${now}
          else f.updated_at + ${leaked} * ${leakMs} * interval '1 millisecond' end
      where f.blocked_until <= ${now}
      returning blocked_until`);
    if (row !== undefined) return { subject, blockedUntil: row.blocked_until };
    const [blocked] = await tx.query(sql<{ blocked_until: string }>`
      select blocked_until from sign_in_failure where subject = ${subject}`);
    throw tooMany(new Date(blocked?.blocked_until ?? now).getTime() - now.getTime());
  }

  /** Undoes the count of a try; and the wait, when it was this one that brought it. */
  async function uncount(tx: Tx, { subject, blockedUntil }: Count): Promise<void> {
    await tx.query(sql`
      update sign_in_failure set
        failures = greatest(failures - 1, 0),
        blocked_until = case when blocked_until = ${blockedUntil} then ${FREELY} else blocked_until end
      where subject = ${subject}`);
  }

  return {
    /**
     * Counts a try to sign in.
     * @param place where only people come from who have had a session of the account: what strangers have tried is
     *   not held against them. Empty: anywhere
     * @throws RESOURCE_EXHAUSTED, with the time to wait, when there were too many
     */
    reserve(call: Call, email: string, place: string): Promise<Attempt> {
      const account = subjectOf(`account:${email.toLowerCase()}${place && `@${place}`}`);
      const address = subjectOf(`address:${networkPrefix(call.clientAddress)}`);
      return db.transact(withoutAudit(call), async (tx) => {
        // In this order always: two never wait for each other in a circle.
        const counted = await count(tx, address, ADDRESS);
        return { address: counted, account: await count(tx, account, ACCOUNT) };
      });
    },

    /** The password was right: the account's failures are over, and the address is given this try back. */
    async forgive(tx: Tx, { account, address }: Attempt): Promise<void> {
      await uncount(tx, address);
      await tx.query(sql`delete from sign_in_failure where subject = ${account.subject}`);
    },

    /** The password was not looked at. */
    async giveBack({ account, address }: Attempt): Promise<void> {
      await db.transact(internalCall(), async (tx) => {
        await uncount(tx, address);
        await uncount(tx, account);
      });
    },

    /** Deletes what is no longer held against anybody: all has leaked, which takes longer than any wait. */
    async purgeExpired(call: Call): Promise<void> {
      const now = clock.now();
      // Subjects are hashes: it is not seen which of them are addresses, whose failures leak sooner.
      const { leakMs } = ACCOUNT;
      const before = new Date(now.getTime() - leakMs);
      for (let deleted = BATCH; deleted === BATCH; ) {
        const rows = await db.transact(call, (tx) =>
          tx.query(sql`
            delete from sign_in_failure where subject in (
              select subject from sign_in_failure
              where updated_at <= ${before}
                and updated_at + failures * ${leakMs} * interval '1 millisecond' <= ${now}
              limit ${BATCH} for update skip locked
            ) returning 1 as one`),
        );
        deleted = rows.length;
      }
    },
  };
}

function subjectOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function tooMany(waitMs: number): AppError {
  const retryAfterMs = Math.max(waitMs, 1);
  const seconds = Math.ceil(retryAfterMs / 1_000);
  return new AppError(
    "exhausted",
    `Too many tries to sign in have failed. Wait ${seconds} s before the next one.`,
    { reason: "SIGN_IN_BACKOFF", quota: "sign-in", retryAfterMs },
  );
}
