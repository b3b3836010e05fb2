import { expect, test } from "vitest";
import { applyBatch } from "../../../../src/infra/outbox/consumer/apply-batch.ts";
import { rotateOutbox } from "../../../../src/infra/outbox/consumer/rotate-outbox.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { rejectionReason } from "../../../support/identity/identity-instance.ts";
import { waitForHorizon } from "../../../support/outbox/horizon.ts";
import { connectOutboxClient } from "../../../support/outbox/outbox-client.ts";
import { type OutboxFixture, openOutboxFixture } from "../../../support/outbox/outbox-fixture.ts";
import { createRecordingConsumer } from "../../../support/outbox/recording-consumer.ts";
import { countLockWaits } from "../../../support/stores/database-activity.ts";

const call = internalCall();
const consumer = createRecordingConsumer();
const slow = createRecordingConsumer({ name: "slow" });
const rotate = ({ db }: OutboxFixture) => rotateOutbox(db, call, { minBytes: 0 });

async function readAll({ db, database }: OutboxFixture, reader = consumer): Promise<void> {
  await waitForHorizon(database);
  expect((await applyBatch(db, call, reader)).hasMore).toBe(false);
}

async function countRows({ database }: OutboxFixture): Promise<number[]> {
  const tables = [1, 2, 3].map((number) => `(select count(*)::int from outbox_${number})`);
  const [row] = await database.query<{ counts: number[] }>(`select array[${tables}] as counts`);
  return row?.counts ?? [];
}

test("transactions write to the tables in turn, and a table is emptied before it is used again", async () => {
  const fixture = await openOutboxFixture();
  await fixture.addCursor("recorder");
  for (const value of [1, 2, 3, 4, 5]) {
    await fixture.publish(value);
    await readAll(fixture);
    expect(await rotate(fixture)).toBe(true);
  }
  expect(await countRows(fixture)).toEqual([1, 1, 0]);
  expect(await fixture.applied()).toEqual([1, 2, 3, 4, 5]);
});

test("a small table is not replaced", async () => {
  const fixture = await openOutboxFixture();
  await fixture.addCursor("recorder");
  await fixture.publish(1);
  expect(await rotateOutbox(fixture.db, call)).toBe(false);
});

test("no table is emptied while a consumer has not read it, and the consumer gets all events in order", async () => {
  const fixture = await openOutboxFixture();
  await fixture.addCursor("recorder");
  await fixture.addCursor("slow");
  const values = [1, 2, 3];
  for (const value of values) {
    await fixture.publish(value);
    await readAll(fixture);
    // The third rotation needs the first table, whose event the slow consumer has not read.
    expect(await rotate(fixture)).toBe(value < 3);
  }
  expect(await countRows(fixture)).toEqual([1, 1, 1]);
  await readAll(fixture, slow);
  expect(await fixture.applied()).toEqual([...values, ...values]);
  expect(await rotate(fixture)).toBe(true);
  expect(await countRows(fixture)).toEqual([0, 1, 1]);
});

test("no table is emptied before there is a consumer", async () => {
  const fixture = await openOutboxFixture();
  await fixture.publish(1);
  expect([await rotate(fixture), await rotate(fixture), await rotate(fixture)]).toEqual([true, true, false]);
  expect(await countRows(fixture)).toEqual([1, 0, 0]);
});

test("a table that an old transaction writes to is not truncated, and its event is not lost", async () => {
  const fixture = await openOutboxFixture();
  await fixture.addCursor("recorder");
  const old = await connectOutboxClient(fixture.database.url);
  await old.query("begin");
  await old.append(1);
  expect([await rotate(fixture), await rotate(fixture)]).toEqual([true, true]);
  // The lock is given up, so that other transactions do not wait behind it.
  expect(await rejectionReason(() => rotate(fixture))).toBe("CONTENTION");
  await fixture.publish(2);
  // A transaction that commits while the rotation waits for its lock.
  const rotated = rotateOutbox(fixture.db, call, { minBytes: 0, lockTimeoutMs: 30_000 });
  await expect.poll(() => countLockWaits(fixture.database)).toBe(1);
  await old.query("commit");
  expect(await rotated).toBe(false);
  await readAll(fixture);
  expect(await fixture.applied()).toEqual([1, 2]);
  expect(await rotate(fixture)).toBe(true);
});
