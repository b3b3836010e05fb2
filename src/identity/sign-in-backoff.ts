import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";
import { sql } from "kysely";
import type { Database, Tx } from "../infra/postgres.ts";
import { type Call, internalCall, withoutAudit } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { AppError } from "../kernel/errors.ts";

/** How many tries in a row may fail before one must wait. */
const FREE = { account: 5, address: 20 };
/** The first wait, which doubles with each further failure, and the longest, milliseconds. */
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 5 * 60_000;
/** After so long without a try, failures are no longer held against anybody, milliseconds. */
const FORGET_MS = 24 * 3_600_000;
/** Nobody has to wait. Not even those whose own time is a little behind that of the try before. */
const FREELY = new Date(0);
/** How many rows a transaction deletes. */
const BATCH = 5_000;

/** A try that is counted already: what it was counted for, and as which one in a row. */
export interface Attempt {
  readonly account: Buffer;
  readonly address: Buffer;
  readonly accountCount: number;
  readonly addressCount: number;
}

/**
 * Slows down who guesses passwords: by account, whether it exists or not, and by address. A try is counted before the
 * password is looked at, so that no more pass at once than one after the other.
 */
export function createSignInBackoff({ db, clock }: { db: Database; clock: Clock }) {
  /** Counts a try; of tries at once each waits for the one before. @returns which one in a row it is */
  async function count(tx: Tx, subject: Buffer, free: number): Promise<number> {
    const now = clock.now();
    const since = new Date(now.getTime() - FORGET_MS);
    const [row] = await tx.query(sql<{ failures: number }>`
      insert into sign_in_failure as f (subject, failures, blocked_until, updated_at)
      values (${subject}, 1, ${FREELY}, ${now})
      on conflict (subject) do update set
        failures = case when f.updated_at < ${since} then 1 else f.failures + 1 end,
        blocked_until = case when f.updated_at < ${since} or f.failures + 1 < ${free} then ${FREELY}
          else ${now}::timestamptz + least(${MAX_WAIT_MS}, ${FIRST_WAIT_MS} * 2 ^ least(f.failures + 1 - ${free}, 30))
            * interval '1 millisecond' end,
        updated_at = ${now}
      where f.blocked_until <= ${now}
      returning failures`);
    if (row !== undefined) return row.failures;
    const [blocked] = await tx.query(sql<{ blocked_until: string }>`
      select blocked_until from sign_in_failure where subject = ${subject}`);
    throw tooMany(new Date(blocked?.blocked_until ?? now).getTime() - now.getTime());
  }

  /** Undoes the count of a try; and the wait, when it was this one that brought it. */
  async function uncount(tx: Tx, subject: Buffer, nth: number): Promise<void> {
    await tx.query(sql`
      update sign_in_failure set
        failures = greatest(failures - 1, 0),
        blocked_until = case when failures = ${nth} then ${FREELY} else blocked_until end
      where subject = ${subject}`);
  }

  return {
    /** Counts a try to sign in. @throws RESOURCE_EXHAUSTED, with the time to wait, when there were too many */
    reserve(call: Call, email: string): Promise<Attempt> {
      const account = subjectOf(`account:${email.toLowerCase()}`);
      const address = subjectOf(`address:${networkOf(call.clientAddress)}`);
      return db.transact(withoutAudit(call), async (tx) => {
        // In this order always: two never wait for each other in a circle.
        const addressCount = await count(tx, address, FREE.address);
        const accountCount = await count(tx, account, FREE.account);
        return { account, address, accountCount, addressCount };
      });
    },

    /** The password was right: the account's failures are over, and the address is given this try back. */
    async forgive(tx: Tx, { account, address, addressCount }: Attempt): Promise<void> {
      await uncount(tx, address, addressCount);
      await tx.query(sql`delete from sign_in_failure where subject = ${account}`);
    },

    /** The password was not looked at. */
    async giveBack({ account, address, accountCount, addressCount }: Attempt): Promise<void> {
      await db.transact(internalCall(), async (tx) => {
        await uncount(tx, address, addressCount);
        await uncount(tx, account, accountCount);
      });
    },

    /** Deletes what is no longer held against anybody. */
    async forget(call: Call): Promise<void> {
      const before = new Date(clock.now().getTime() - FORGET_MS);
      for (let deleted = BATCH; deleted === BATCH; ) {
        const rows = await db.transact(call, (tx) =>
          tx.query(sql`
            delete from sign_in_failure where subject in (
              select subject from sign_in_failure where updated_at < ${before} limit ${BATCH} for update skip locked
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

/** Whoever has one IPv6 address has all of its /64. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = "", tail = ""] = address.split("::");
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const [left, right] = [groups(head), groups(tail)];
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => "0");
  return [...left, ...zeros, ...right].slice(0, 4).join(":");
}

function tooMany(waitMs: number): AppError {
  const retryAfterMs = Math.max(waitMs, 1);
  const seconds = Math.ceil(retryAfterMs / 1_000);
  return new AppError(
    "exhausted",
    `Too many tries to sign in have failed. Wait ${seconds} s before the next one.`,
    { reason: "SIGN_IN_BACKOFF", retryAfterMs },
  );
}
