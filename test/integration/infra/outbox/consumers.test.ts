import { expect, test } from "vitest";
import { applyBatch } from "../../../../src/infra/outbox/consumer/apply-batch.ts";
import type { Topic } from "../../../../src/infra/outbox/topic.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { waitForHorizon } from "../../../support/outbox/horizon.ts";
import { NEVER_MS, openOutboxFixture } from "../../../support/outbox/outbox-fixture.ts";
import { createRecordingConsumer, insertNumbers } from "../../../support/outbox/recording-consumer.ts";

test("a transaction stores all its events in one row, and none when it is rolled back or a dry run", async () => {
  const { database, db, publish } = await openOutboxFixture();
  const text: Topic<{ text: string }> = { name: "text" };
  await publish(1, 2);
  await db.transact(internalCall(), async (tx) => tx.publish(text, { text: "'\\ \u{1f600}" }));
  await db.dryRun(internalCall(), async (tx) => tx.publish(text, { text: "dry" }));
  const failing = db.transact(internalCall(), async (tx) => {
    tx.publish(text, { text: "rolled back" });
    throw new Error("failed");
  });
  await expect(failing).rejects.toThrow("failed");
  const rows = await database.query<{ events: unknown }>("select events from outbox_1 order by id");
  expect(rows.map(({ events }) => events)).toEqual([
    [
      { topic: "numbers", data: 1 },
      { topic: "numbers", data: 2 },
    ],
    [{ topic: "text", data: { text: "'\\ \u{1f600}" } }],
  ]);
});

test("a repeated transaction stores the events of its last attempt only", async () => {
  const { database, db } = await openOutboxFixture();
  let attempts = 0;
  await db.transact(internalCall(), async (tx) => {
    attempts += 1;
    tx.publish({ name: "attempt" }, attempts);
    if (attempts === 1) throw Object.assign(new Error("deadlock detected"), { code: "40P01" });
  });
  expect(await database.query("select events from outbox_1")).toEqual([
    { events: [{ topic: "attempt", data: 2 }] },
  ]);
});

test("a commit of this process wakes the consumers, which get the events of their topics in order", async () => {
  const { db, publish, applied, run } = await openOutboxFixture();
  const running = await run([createRecordingConsumer()], { pollMs: NEVER_MS });
  await publish(1, 2);
  await expect.poll(applied).toEqual([1, 2]);
  await db.transact(internalCall(), async (tx) => tx.publish({ name: "other" }, 0));
  await publish(3);
  await expect.poll(applied).toEqual([1, 2, 3]);
  expect(running.stats().consumers.get("recorder")).toMatchObject({ events: 3, failures: 0 });
});

test("events of other processes are found by polling", async () => {
  const { database, applied, run } = await openOutboxFixture();
  await run([createRecordingConsumer()], { pollMs: 10 });
  await database.query(`select append_outbox('[{"topic": "numbers", "data": 7}]')`);
  await expect.poll(applied).toEqual([7]);
});

test("a consumer with a minimum age reads no younger row, and none that follows one", async () => {
  const { database, db, publish, addCursor } = await openOutboxFixture();
  await addCursor("recorder");
  await publish(1);
  await publish(2);
  await waitForHorizon(database);
  const consumer = { ...createRecordingConsumer(), minAgeMs: 3_600_000 };
  const age = (events: string) =>
    database.query(
      `update outbox_1 set created_at = created_at - interval '2 hours' where events = '${events}'`,
    );
  const apply = () => applyBatch(db, internalCall(), consumer);
  await age('[{"topic": "numbers", "data": 2}]');
  expect(await apply()).toEqual({ events: 0, rows: 0, hasMore: false });
  await age('[{"topic": "numbers", "data": 1}]');
  expect(await apply()).toEqual({ events: 2, rows: 2, hasMore: false });
  await publish(3);
  await waitForHorizon(database);
  expect(await apply()).toEqual({ events: 0, rows: 0, hasMore: false });
});

test("a failed batch is rolled back with its effect, and repeated", async () => {
  const { publish, applied, run } = await openOutboxFixture();
  let failures = 0;
  const consumer = createRecordingConsumer({
    async apply(tx, events) {
      await insertNumbers(
        tx,
        events.map(({ data }) => data),
      );
      if (failures < 2) {
        failures += 1;
        throw new Error("failed after the effect");
      }
    },
  });
  const running = await run([consumer], { pollMs: 10 });
  await publish(1);
  await expect.poll(applied).toEqual([1]);
  expect(failures).toBe(2);
  expect(running.stats().consumers.get("recorder")).toMatchObject({ batches: 1, events: 1, failures: 2 });
});

test("a new consumer starts at the end of the outbox; each consumer has its own cursor", async () => {
  const { database, publish, applied, run } = await openOutboxFixture();
  await publish(1);
  await waitForHorizon(database);
  await run([createRecordingConsumer()], { pollMs: 10 });
  await publish(2);
  await expect.poll(applied).toEqual([2]);
  await waitForHorizon(database);
  await run([createRecordingConsumer({ name: "second" })], { pollMs: 10 });
  await publish(3);
  await expect.poll(applied).toEqual([2, 3, 3]);
});

test("a consumer continues when the clock of the database is set back", async () => {
  const { database, publish, addCursor, applied, run } = await openOutboxFixture();
  await addCursor("recorder");
  await publish(1);
  await database.query("update outbox_1 set created_at = created_at + interval '1 hour'");
  await database.query("update outbox_cursor set advanced_at = advanced_at + interval '1 hour'");
  await run([createRecordingConsumer({ minAgeMs: 60_000, delayMs: 10 })], { pollMs: 10 });
  await expect.poll(applied).toEqual([1]);
});

test("a row that was written before the clock was set back is old enough", async () => {
  const { database, db, publish, addCursor } = await openOutboxFixture();
  await addCursor("recorder");
  await publish(1);
  await waitForHorizon(database);
  const apply = () => applyBatch(db, internalCall(), createRecordingConsumer({ minAgeMs: 60_000 }));
  expect(await apply()).toMatchObject({ events: 0 });
  await database.query("update outbox_1 set created_at = created_at + interval '1 hour'");
  expect(await apply()).toMatchObject({ events: 1 });
});
