import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import { entities } from "../../../src/entities.ts";
import {
  type BatchWriter,
  createBatchWriter,
  type Outcome,
} from "../../../src/infra/batch-writer/batch-writer.ts";
import { type Database, openPostgres, type Tx } from "../../../src/infra/postgres/postgres.ts";
import { type Call, internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { AppError } from "../../../src/kernel/errors.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { silentLog } from "../log.ts";
import { createTestDatabase, type TestDatabase } from "../stores/database.ts";
import { LIMITS } from "./fake-batches.ts";

/** A withdrawal from an wallet. Its key is the primary key of its posting. */
interface Withdrawal {
  key: string;
  wallet: string;
  amount: number;
}

interface Locked {
  balances: Map<string, number>;
  written: Set<string>;
}

/** Wallets a, b and c with a balance of 50 each, and a batch writer of withdrawals. */
export interface WalletFixture {
  database: TestDatabase;
  writer: BatchWriter<Withdrawal, string>;
  /** Withdraws an amount and returns the key. */
  withdraw(wallet: string, amount: number, key?: string, call?: Call): Promise<string>;
  balance(wallet: string): Promise<number>;
  countPostings(): Promise<number>;
  /** Lets so many statements that insert postings fail with a serialization failure. */
  failFirstPostings(count: number): Promise<void>;
  /** Reports the next commit as lost although it was executed. */
  loseNextCommit(): void;
  /** Restores the initial state. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the wallets in a database of their own.
 * @param statementTimeoutMs upper bound of a statement of a batch, in milliseconds
 */
export async function openWallets(statementTimeoutMs = 30_000): Promise<WalletFixture> {
  const database = await createTestDatabase();
  await database.query(
    "create table wallet (id text primary key, balance int not null check (balance >= 0))",
  );
  await database.query(
    "create table posting (key uuid primary key, wallet text not null, amount int not null)",
  );
  await database.query("create table failures (remaining int not null)");
  await database.query("create sequence failed");
  await database.query(`
    create function fail_first() returns trigger language plpgsql as $$
    begin
      if nextval('failed') <= (select remaining from failures) then
        raise exception 'conflict' using errcode = 'serialization_failure';
      end if;
      return null;
    end $$`);
  await database.query(
    "create trigger fail_first after insert on posting for each statement execute function fail_first()",
  );
  const pool = { poolMax: 4, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  const postgres = await openPostgres({ url: database.url, entities, log: silentLog, ...pool });
  let losesCommit = false;
  const db: Pick<Database, "transact"> = {
    async transact(call, work, limits) {
      const result = await postgres.transact(call, work, limits);
      if (!losesCommit) return result;
      losesCommit = false;
      const cause = Object.assign(new Error("Connection terminated"), { code: "ECONNRESET" });
      throw new AppError("unavailable", "Away.", { reason: "DATABASE_AWAY" }, cause);
    },
  };
  const writer = createBatchWriter<Withdrawal, Locked, string>({
    db,
    work: { keysOf: ({ key, wallet }) => [key, wallet], lock, write, findLocked: async () => new Set() },
    audit: { ids: createIds(), clock: systemClock },
    statementTimeoutMs,
    lockTimeoutMs: 30_000,
    limits: { ...LIMITS, maxInFlight: 2 },
    log: silentLog,
  });
  return {
    database,
    writer,
    withdraw: (wallet, amount, key = randomUUID(), call = internalCall()) =>
      writer.write(call, { key, wallet, amount }),
    async balance(wallet) {
      const [row] = await database.query<{ balance: number }>("select balance from wallet where id = $1", [
        wallet,
      ]);
      return row?.balance ?? Number.NaN;
    },
    countPostings: async () => (await database.query("select from posting")).length,
    async failFirstPostings(count) {
      await database.query("update failures set remaining = $1", [count]);
      await database.query("alter sequence failed restart");
    },
    loseNextCommit() {
      losesCommit = true;
    },
    async reset() {
      await database.query("truncate wallet, posting, failures, audit_entry");
      await database.query("insert into wallet values ('a', 50), ('b', 50), ('c', 50)");
      await database.query("insert into failures values (0)");
    },
    async close() {
      await postgres.close();
      await database.drop();
    },
  };
}

async function lock(tx: Tx, items: readonly Withdrawal[]): Promise<Locked> {
  const wallets = await tx.query(sql<{ id: string; balance: number }>`
    select id, balance from wallet where id = any(${items.map(({ wallet }) => wallet)}::text[])
    order by id for update`);
  const postings = await tx.query(sql<{ key: string }>`
    select key from posting where key::text = any(${items.map(({ key }) => key)}::text[])`);
  return {
    balances: new Map(wallets.map(({ id, balance }) => [id, balance])),
    written: new Set(postings.map(({ key }) => key)),
  };
}

async function write(
  tx: Tx,
  { balances, written }: Locked,
  items: readonly Withdrawal[],
): Promise<Outcome<string>[]> {
  const accepted: Withdrawal[] = [];
  const outcomes = items.map((item): Outcome<string> => {
    const balance = balances.get(item.wallet) ?? 0;
    if (written.has(item.key)) return { result: item.key };
    if (balance < item.amount) {
      return { error: new AppError("failed_precondition", "Too little.", { reason: "TOO_LITTLE" }) };
    }
    balances.set(item.wallet, balance - item.amount);
    written.add(item.key);
    accepted.push(item);
    return { result: item.key };
  });
  await tx.query(sql`
    insert into posting select * from unnest(
      ${accepted.map(({ key }) => key)}::uuid[], ${accepted.map(({ wallet }) => wallet)}::text[],
      ${accepted.map(({ amount }) => amount)}::int[])`);
  await tx.query(sql`
    update wallet set balance = new.balance
    from unnest(${[...balances.keys()]}::text[], ${[...balances.values()]}::int[]) as new (id, balance)
    where wallet.id = new.id`);
  return outcomes;
}
