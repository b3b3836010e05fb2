import fc from "fast-check";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { applyBatch } from "../../../../src/infra/outbox/consumer/apply-batch.ts";
import type { OutboxConsumer, OutboxEvent } from "../../../../src/infra/outbox/consumer/consumer.ts";
import { rotateOutbox } from "../../../../src/infra/outbox/consumer/rotate-outbox.ts";
import { type Database, openPostgres, type Tx } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { silentLog } from "../../../support/log.ts";
import {
  type OutboxAction,
  outboxActions,
  runWriterAction,
  WRITERS,
} from "../../../support/outbox/outbox-actions.ts";
import {
  type Change,
  changes,
  createOutboxModel,
  type OutboxModel,
} from "../../../support/outbox/outbox-model.ts";
import { type OutboxServer, startOutboxServer } from "../../../support/outbox/outbox-server.ts";

const call = internalCall();
const limits = { rows: 1_000_000, ageMs: 3_600_000 };

let server: OutboxServer;
let db: Database;
let model: OutboxModel;
beforeAll(async () => {
  server = await startOutboxServer();
  const pool = { poolMax: 4, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  db = await openPostgres({ url: server.url, entities, log: silentLog, ...pool });
  model = await createOutboxModel(server.url, WRITERS);
});
afterAll(async () => {
  await model.close();
  await db.close();
  await server.stop();
});

/** Reads at most `rows` rows, and calls `beforeCommit` in the transaction that applies them. */
type Reader = (rows: number, beforeCommit: (tx: Tx) => Promise<void>) => Promise<unknown>;

/** Counts each change: its effect is wrong if a change is missing or applied twice. */
const counter = consumerOf("counter", async (tx, events) => {
  const numbers = events.map(({ data }) => data.number);
  await tx.query(sql`insert into counted select unnest(${numbers}::integer[])`);
});

/** Keeps the latest version of each resource, whatever the order of the changes is. */
const follower = consumerOf("follower", async (tx, events) => {
  for (const { data } of events) {
    await tx.query(sql`
      insert into latest values (${data.resource}, ${data.version})
      on conflict (resource) do update set version = excluded.version where latest.version < excluded.version`);
  }
});

function consumerOf(name: string, apply: OutboxConsumer<Change>["apply"]): OutboxConsumer<Change> {
  return { name, topics: [changes], delayMs: 0, limits, apply };
}

/** A reader by consumers of the outbox. They check that nothing is early. */
const outboxReader: Reader = async (rows, beforeCommit) => {
  for (const consumer of [counter, follower]) {
    let isFirst = true;
    await applyBatch(
      db,
      call,
      {
        ...consumer,
        async apply(tx, events) {
          assertReadable(events);
          await consumer.apply(tx, events);
          if (isFirst) await beforeCommit(tx).finally(() => (isFirst = false));
        },
      },
      { rows, bytes: 2 ** 20 },
    );
  }
};

/** Negative control: reads the rows after the last id, in the order of their ids. */
const sequenceReader: Reader = async (rows) => {
  await db.transact(call, async (tx) => {
    const read = await tx.query(sql<{ id: string; data: Change }>`
      select id, events -> 0 -> 'data' as data from (
        select * from outbox_1 union all select * from outbox_2 union all select * from outbox_3
      ) as outbox
      where id > (select id from outbox_cursor where consumer = 'counter') order by id limit ${rows}`);
    for (const { id, data } of read) {
      await tx.query(sql`insert into counted values (${data.number})`);
      await tx.query(sql`update outbox_cursor set id = ${id}`);
    }
  });
};

/** Checks that events are committed, older than all open transactions, and in order. */
function assertReadable(events: readonly OutboxEvent<Change>[]): void {
  const oldest = model.oldestXid();
  let previous = 0n;
  for (const { data, position } of events) {
    const xid = BigInt(position.xid);
    expect(model.committed.get(data.number)?.xid, "the event is committed").toBe(xid);
    if (oldest !== undefined) expect(xid, "the event is below the horizon").toBeLessThan(oldest);
    expect(xid, "the events are in order").toBeGreaterThanOrEqual(previous);
    previous = xid;
  }
}

/** Terminates the connection of a transaction, as a killed process does. */
const terminate = (tx: Tx): Promise<void> =>
  tx.query(sql`select pg_terminate_backend(pg_backend_pid())`).then(() => {});

async function countedNumbers(): Promise<number[]> {
  return (await model.query<{ number: number }>("select number from counted order by number")).map(
    ({ number }) => number,
  );
}

/** Runs a sequence of steps, then lets all open transactions commit and reads the rest. */
async function check(actions: readonly OutboxAction[], read: Reader): Promise<void> {
  await model.reset();
  for (const action of actions) {
    await runWriterAction(model, action);
    if (action.kind === "read") await read(action.rows, action.isKilled ? terminate : async () => {});
    if (action.kind === "rotate") await rotateOutbox(db, call, { minBytes: 0 }).catch(() => false);
    if (action.kind === "read" && action.rows === 100) assertComplete(await countedNumbers());
  }
  for (const { transaction, end } of model.writers) if (transaction !== undefined) await end("commit");
  await read(1_000, async () => {});
  expect(await countedNumbers()).toEqual([...model.committed.keys()].toSorted((a, b) => a - b));
  const outdated = await model.query(
    "select * from resource left join latest on resource = id where resource.version <> coalesce(latest.version, 0)",
  );
  if (read === outboxReader) expect(outdated).toEqual([]);
}

/** Checks that all committed changes of transactions older than the open ones are applied once. */
function assertComplete(counted: readonly number[]): void {
  const oldest = model.oldestXid();
  const readable = [...model.committed].filter(([, { xid }]) => oldest === undefined || xid < oldest);
  expect(new Set(counted).size).toBe(counted.length);
  expect(counted).toEqual(expect.arrayContaining(readable.map(([number]) => number)));
}

test("consumers apply each committed event once, never early, and end with the latest version of each resource", async () => {
  await fc.assert(
    fc.asyncProperty(outboxActions, (actions) => check(actions, outboxReader)),
    { numRuns: 60 },
  );
});

/** The transaction that takes the smaller number commits after the larger one was read. */
const LATE_COMMIT: OutboxAction[] = [
  { kind: "begin", writer: 0 },
  { kind: "change", writer: 0, resource: 0 },
  { kind: "begin", writer: 1 },
  { kind: "change", writer: 1, resource: 1 },
  { kind: "commit", writer: 1 },
  { kind: "read", rows: 1, isKilled: false },
  { kind: "commit", writer: 0 },
];

/** The transactions write in the opposite order of their ids, and commit together. */
const OPPOSITE_ORDER: OutboxAction[] = [
  ...[0, 1, 2, 3].map((writer): OutboxAction => ({ kind: "begin", writer })),
  ...[3, 2, 1, 0].map((writer): OutboxAction => ({ kind: "change", writer, resource: writer })),
  ...[0, 1, 2, 3].map((writer): OutboxAction => ({ kind: "commit", writer })),
  { kind: "read", rows: 1, isKilled: false },
  { kind: "read", rows: 2, isKilled: true },
];

test("events are read in the order of transaction ids, batch by batch", () =>
  check(OPPOSITE_ORDER, outboxReader));

test("a reader by sequence number alone skips events that are committed late", async () => {
  await check(LATE_COMMIT, outboxReader);
  await expect(check(LATE_COMMIT, sequenceReader)).rejects.toThrow();
  expect(await countedNumbers()).toHaveLength(1);
});
