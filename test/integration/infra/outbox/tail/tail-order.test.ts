import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entities } from "../../../../../src/entities.ts";
import { rotateOutbox } from "../../../../../src/infra/outbox/consumer/rotate-outbox.ts";
import { readPosition, readTail, type TailPosition } from "../../../../../src/infra/outbox/tail/read-tail.ts";
import { type Database, openPostgres } from "../../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../../src/kernel/call.ts";
import { silentLog } from "../../../../support/log.ts";
import {
  type OutboxAction,
  outboxActions,
  runWriterAction,
  WRITERS,
} from "../../../../support/outbox/outbox-actions.ts";
import {
  type Change,
  changes,
  createOutboxModel,
  type OutboxModel,
} from "../../../../support/outbox/outbox-model.ts";
import { type OutboxServer, startOutboxServer } from "../../../../support/outbox/outbox-server.ts";

const call = internalCall();

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

/** What a tail has read. */
interface TailState {
  position: TailPosition;
  received: number[];
  /** Changes that were committed before the tail reported that it had missed some: its subscribers read them again. */
  reread: Set<number>;
  gaps: number;
}

/** Reads one batch. */
type ReadStep = (state: TailState, rows: number) => Promise<void>;

const readStep: ReadStep = async (state, rows) => {
  const limits = { rows, bytes: 2 ** 20 };
  const batch = await readTail(db, call, state.position, [changes.name], limits);
  if (batch.isIncomplete) {
    state.gaps += 1;
    state.position = await readPosition(db, call);
    state.reread = new Set(model.committed.keys());
    return;
  }
  for (const { data } of batch.events) {
    const { number } = toChange(data);
    expect(model.committed.has(number), "the event is committed").toBe(true);
    state.received.push(number);
  }
  state.position = batch.position;
  if (batch.position.partial === undefined)
    expect(missedOf(state), "no committed event waits for open transactions").toEqual([]);
};

/** Negative control: does not notice that rows were truncated. */
const carelessStep: ReadStep = async (state, rows) => {
  const limits = { rows, bytes: 2 ** 20 };
  const batch = await readTail(db, call, state.position, [changes.name], limits);
  state.received.push(...batch.events.map(({ data }) => toChange(data).number));
  state.position = batch.position;
};

function toChange(data: unknown): Pick<Change, "number"> {
  if (typeof data === "object" && data !== null && "number" in data && typeof data.number === "number") {
    return { number: data.number };
  }
  throw new Error("not a change");
}

/** Returns the committed events that were neither received nor read again. */
const missedOf = ({ received, reread }: TailState): number[] =>
  [...model.committed.keys()].filter((number) => !received.includes(number) && !reread.has(number));

/** Runs a sequence of steps, then lets all open transactions commit and reads the rest. */
async function check(actions: readonly OutboxAction[], read: ReadStep): Promise<TailState> {
  await model.reset();
  // No consumer keeps the tables from being truncated.
  await model.query("update outbox_cursor set epoch = 1000000");
  const state: TailState = {
    position: await readPosition(db, call),
    received: [],
    reread: new Set(),
    gaps: 0,
  };
  for (const action of actions) {
    await runWriterAction(model, action);
    if (action.kind === "read") await read(state, action.rows);
    if (action.kind === "rotate") await rotateOutbox(db, call, { minBytes: 0 }).catch(() => false);
  }
  for (const { transaction, end } of model.writers) if (transaction !== undefined) await end("commit");
  for (let before = -1; before !== state.received.length + state.gaps; ) {
    before = state.received.length + state.gaps;
    await read(state, 1_000);
  }
  expect(new Set(state.received).size, "no event is received twice").toBe(state.received.length);
  expect(missedOf(state), "no event is missed without a report").toEqual([]);
  return state;
}

test("a tail receives each committed event once, without waiting for open transactions, or reports that it has missed events", async () => {
  await fc.assert(
    fc.asyncProperty(outboxActions, async (actions) => void (await check(actions, readStep))),
    { numRuns: 60 },
  );
});

const change = (writer: number): OutboxAction[] => [
  { kind: "begin", writer },
  { kind: "change", writer, resource: writer },
];
const commit = (writer: number): OutboxAction => ({ kind: "commit", writer });
const rotate: OutboxAction = { kind: "rotate" };
const readAll: OutboxAction = { kind: "read", rows: 100, isKilled: false };

test("a long transaction that commits after short ones is received after them, once", async () => {
  const { received, gaps } = await check(
    [...change(0), ...change(1), commit(1), readAll, ...change(2), commit(2), readAll, commit(0), readAll],
    readStep,
  );
  const [first = 0] = [...model.committed.keys()].toSorted((one, other) => one - other);
  expect([received.map((number) => number - first), gaps]).toEqual([[1, 2, 0], 0]);
});

test("a tail that reads in time does not report the truncation of rows that it has read", async () => {
  const rounds = [0, 1, 2, 3, 0, 1].flatMap((writer) => [...change(writer), commit(writer), readAll, rotate]);
  const { received, gaps } = await check(rounds, readStep);
  expect([received.length, gaps]).toEqual([6, 0]);
});

test("a tail whose rows were truncated reports it once", async () => {
  const steps = [
    ...change(0),
    commit(0),
    rotate,
    rotate,
    rotate,
    ...change(1),
    commit(1),
    readAll,
    ...change(2),
    commit(2),
  ];
  const { received, gaps } = await check(steps, readStep);
  expect([received.length, gaps]).toEqual([1, 1]);
  await expect(check(steps, carelessStep)).rejects.toThrow("no event is missed without a report");
});
