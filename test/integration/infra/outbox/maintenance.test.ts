import { expect, test } from "vitest";
import { applyBatch } from "../../../../src/infra/outbox/consumer/apply-batch.ts";
import type { OutboxConsumer } from "../../../../src/infra/outbox/consumer/consumer.ts";
import { findBlockingTransaction } from "../../../../src/infra/outbox/consumer/lag.ts";
import { createMaintenance } from "../../../../src/infra/outbox/consumer/maintain-outbox.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { waitForHorizon } from "../../../support/outbox/horizon.ts";
import { connectOutboxClient } from "../../../support/outbox/outbox-client.ts";
import { type OutboxFixture, openOutboxFixture } from "../../../support/outbox/outbox-fixture.ts";
import { createRecordedLog } from "../../../support/outbox/recorded-log.ts";
import { createRecordingConsumer, insertNumbers } from "../../../support/outbox/recording-consumer.ts";

const call = internalCall();
const limits = { rows: 2, ageMs: 3_600_000 };
const SKIPPED = -1;

async function openMaintenance(fixture: OutboxFixture, consumers: OutboxConsumer<number>[]) {
  for (const { name } of consumers) await fixture.addCursor(name);
  const log = createRecordedLog();
  let nowMs = 0;
  const maintenance = createMaintenance({ db: fixture.db, call, consumers, log, nowMs: () => nowMs });
  return {
    maintenance,
    log,
    advance: (ms: number) => {
      nowMs += ms;
    },
  };
}

test("a consumer that is too far behind is reported, and no event is dropped", async () => {
  const fixture = await openOutboxFixture();
  const consumer = createRecordingConsumer({ limits });
  const { maintenance, log } = await openMaintenance(fixture, [consumer]);
  await fixture.publish(1);
  await fixture.publish(2);
  await waitForHorizon(fixture.database);
  await maintenance.run();
  expect(maintenance.lag?.consumers.get("recorder")).toMatchObject({ rows: 2 });
  expect(log.warnings).toEqual([]);
  await fixture.publish(3);
  await waitForHorizon(fixture.database);
  await maintenance.run();
  expect(log.warnings).toMatchObject([
    { message: "Outbox consumer fell behind", fields: { consumer: "recorder", rows: 3, isKnown: true } },
  ]);
  await applyBatch(fixture.db, call, consumer);
  expect(await fixture.applied()).toEqual([1, 2, 3]);
  await maintenance.run();
  expect(maintenance.lag?.consumers.get("recorder")).toEqual({ rows: 0, ageMs: 0 });
});

test("a consumer whose first unread event is too old is reported, also one that this version does not have", async () => {
  const fixture = await openOutboxFixture();
  const { maintenance, log } = await openMaintenance(fixture, [createRecordingConsumer()]);
  await fixture.addCursor("removed");
  await fixture.publish(1);
  await fixture.database.query("update outbox_1 set created_at = now() - interval '2 hours'");
  await waitForHorizon(fixture.database);
  await maintenance.run();
  expect(log.warnings.map(({ fields }) => [fields.consumer, fields.isKnown]).sort()).toEqual([
    ["recorder", true],
    ["removed", false],
  ]);
});

test("a consumer that can skip moves to the horizon, and gets events that were not committed before", async () => {
  const fixture = await openOutboxFixture();
  const consumer = createRecordingConsumer({ limits, skip: (tx) => insertNumbers(tx, [SKIPPED]) });
  const { maintenance, log } = await openMaintenance(fixture, [consumer]);
  for (const value of [1, 2, 3]) await fixture.publish(value);
  await waitForHorizon(fixture.database);
  const open = await connectOutboxClient(fixture.database.url);
  await open.query("begin");
  await open.append(4);
  await fixture.publish(5);
  await maintenance.run();
  expect(maintenance.counters.skips).toBe(1);
  expect(log.warnings.map(({ message }) => message)).toEqual([
    "Outbox consumer fell behind and skipped events",
  ]);
  await open.query("commit");
  await waitForHorizon(fixture.database);
  await maintenance.run();
  await applyBatch(fixture.db, call, consumer);
  expect(await fixture.applied()).toEqual([SKIPPED, 4, 5]);
  expect(maintenance.counters.skips).toBe(1);
});

test("a consumer whose skip fails drops no event", async () => {
  const fixture = await openOutboxFixture();
  const skip = () => Promise.reject(new Error("no connection"));
  const consumer = createRecordingConsumer({ limits, skip });
  const { maintenance } = await openMaintenance(fixture, [consumer]);
  for (const value of [1, 2, 3]) await fixture.publish(value);
  await waitForHorizon(fixture.database);
  await maintenance.run();
  await applyBatch(fixture.db, call, consumer);
  expect(await fixture.applied()).toEqual([1, 2, 3]);
});

test("a long transaction that delays consumers is reported by name, even of another database", async () => {
  const fixture = await openOutboxFixture();
  const { maintenance, log, advance } = await openMaintenance(fixture, [createRecordingConsumer()]);
  const otherUrl = new URL(fixture.database.url);
  otherUrl.pathname = "/postgres";
  const report = await connectOutboxClient(otherUrl.href, "nightly report");
  await report.query("begin");
  await report.query("select pg_current_xact_id()");
  await fixture.publish(1);
  await expect
    .poll(() => findBlockingTransaction(fixture.db, call))
    .toMatchObject({ name: "nightly report" });
  await maintenance.run();
  await maintenance.run();
  advance(9_000);
  await maintenance.run();
  expect(log.warnings).toEqual([]);
  advance(2_000);
  await maintenance.run();
  expect(log.warnings).toMatchObject([
    {
      message: "Outbox consumers were delayed by a long transaction",
      fields: {
        stalledMs: 11_000,
        transaction: { name: "nightly report", database: "postgres", state: "idle in transaction" },
      },
    },
  ]);
  expect(maintenance.stalledMs).toBe(11_000);
  await report.query("rollback");
  await waitForHorizon(fixture.database);
  await maintenance.run();
  expect(maintenance.stalledMs).toBe(0);
});

test("a stalled horizon is reported only while events wait", async () => {
  const fixture = await openOutboxFixture();
  const { maintenance, log, advance } = await openMaintenance(fixture, [createRecordingConsumer()]);
  await maintenance.run();
  advance(60_000);
  await maintenance.run();
  advance(60_000);
  await maintenance.run();
  expect(log.warnings).toEqual([]);
});
