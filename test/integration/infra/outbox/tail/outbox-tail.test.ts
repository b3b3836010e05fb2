import { expect, onTestFinished, test, vi } from "vitest";
import {
  createOutboxTail,
  type OutboxTailOptions,
} from "../../../../../src/infra/outbox/tail/outbox-tail.ts";
import type { Topic } from "../../../../../src/infra/outbox/topic.ts";
import { internalCall } from "../../../../../src/kernel/call.ts";
import { silentLog } from "../../../../support/log.ts";
import { controlReads } from "../../../../support/outbox/controlled-reads.ts";
import { waitForHorizon } from "../../../../support/outbox/horizon.ts";
import { NEVER_MS, numbers, openOutboxFixture } from "../../../../support/outbox/outbox-fixture.ts";

const texts: Topic<string> = { name: "texts" };

async function openTail(options: Partial<OutboxTailOptions> = {}) {
  const fixture = await openOutboxFixture();
  const reads = controlReads(fixture.db);
  const tail = createOutboxTail({ db: reads, wakeUp: fixture.wakeUp, log: silentLog, ...options });
  onTestFinished(() => tail.close());
  return { ...fixture, reads, tail, subscribe: <Data>(topic: Topic<Data>) => subscribe(tail, topic) };
}

function subscribe<Data>(tail: ReturnType<typeof createOutboxTail>, topic: Topic<Data>) {
  const received: Data[] = [];
  const batches: number[] = [];
  let rereads = 0;
  const unsubscribe = tail.subscribe(topic, {
    receive(events) {
      batches.push(events.length);
      received.push(...events);
    },
    reread() {
      rereads += 1;
    },
  });
  return { received, batches, rereads: () => rereads, unsubscribe };
}

test("a tail starts at the horizon and receives the events of its topic after commits of this process", async () => {
  const { db, database, publish, reads, subscribe } = await openTail({ pollMs: NEVER_MS });
  await publish(1);
  await waitForHorizon(database);
  expect(reads.count).toBe(0);
  const one = subscribe(numbers);
  await expect.poll(one.rereads).toBe(1);
  await db.transact(internalCall(), async (tx) => {
    tx.publish(numbers, 2);
    tx.publish(texts, "two");
    tx.publish(numbers, 3);
  });
  await expect.poll(() => one.received).toEqual([2, 3]);
  expect(one.rereads()).toBe(1);
});

test("a tail finds events of other processes by polling", async () => {
  const { database, subscribe } = await openTail({ pollMs: 10 });
  const one = subscribe(numbers);
  await expect.poll(one.rereads).toBe(1);
  await database.query(`select append_outbox('[{"topic": "numbers", "data": 7}]')`);
  await expect.poll(() => one.received).toEqual([7]);
});

test("a tail without subscribers reads nothing, and starts again at the horizon", async () => {
  const pollMs = 10;
  const { db, database, wakeUp, publish, reads, subscribe } = await openTail({ pollMs });
  const first = subscribe(numbers);
  await expect.poll(first.rereads).toBe(1);
  await expect.poll(() => reads.count).toBeGreaterThan(2);
  first.unsubscribe();
  const { count } = reads;
  await publish(1);
  await waitForHorizon(database);
  // Meanwhile, a tail with a subscriber and the same interval reads many times.
  const otherReads = controlReads(db);
  const other = createOutboxTail({ db: otherReads, wakeUp, log: silentLog, pollMs });
  onTestFinished(() => other.close());
  other.subscribe(numbers, { receive() {}, reread() {} });
  await expect.poll(() => otherReads.count).toBeGreaterThan(10);
  expect(reads.count).toBe(count);
  const second = subscribe(numbers);
  await expect.poll(second.rereads).toBe(1);
  await publish(2);
  await expect.poll(() => second.received).toEqual([2]);
  expect(first.received).toEqual([]);
});

test("only commits with events of a subscribed topic wake a tail", async () => {
  const { wakeUp, subscribe } = await openTail({ pollMs: NEVER_MS });
  const one = subscribe(numbers);
  await expect.poll(one.rereads).toBe(1);
  const setTimer = vi.spyOn(globalThis, "setTimeout");
  onTestFinished(() => setTimer.mockRestore());
  wakeUp.notify(new Set(["texts"]));
  expect(setTimer).not.toHaveBeenCalled();
  wakeUp.notify(new Set(["texts", "numbers"]));
  expect(setTimer).toHaveBeenCalledOnce();
  one.unsubscribe();
  wakeUp.notify(new Set(["numbers"]));
  expect(setTimer).toHaveBeenCalledOnce();
});

test("a subscriber of another topic reads again, because the batch that runs does not look for its events", async () => {
  const { db, reads, subscribe } = await openTail({ pollMs: 10 });
  const one = subscribe(numbers);
  await expect.poll(one.rereads).toBe(1);
  reads.pause();
  await expect.poll(() => reads.pausedCount).toBe(1);
  const other = subscribe(texts);
  await db.transact(internalCall(), async (tx) => tx.publish(texts, "missed by the batch"));
  reads.resume();
  await expect.poll(other.rereads).toBe(1);
  await db.transact(internalCall(), async (tx) => tx.publish(texts, "received"));
  await expect.poll(() => other.received.at(-1)).toBe("received");
  expect(one.rereads()).toBe(1);
});

test("a tail reads in batches of a bounded number of rows", async () => {
  const { database, publish, reads, subscribe } = await openTail({
    pollMs: 10,
    limits: { rows: 2, bytes: 2 ** 20 },
  });
  const one = subscribe(numbers);
  await expect.poll(one.rereads).toBe(1);
  reads.pause();
  await expect.poll(() => reads.pausedCount).toBe(1);
  for (const value of [1, 2, 3, 4, 5]) await publish(value);
  await waitForHorizon(database);
  reads.resume();
  await expect.poll(() => one.received).toEqual([1, 2, 3, 4, 5]);
  expect(Math.max(...one.batches)).toBe(2);
});

test("a tail continues where it was after failed reads", async () => {
  const { publish, reads, subscribe } = await openTail({ pollMs: 10 });
  const one = subscribe(numbers);
  await expect.poll(one.rereads).toBe(1);
  reads.fail(3);
  await publish(1);
  await expect.poll(() => one.received).toEqual([1]);
  expect(one.rereads()).toBe(1);
});

test("a tail whose rows were truncated makes its subscribers read again, and continues", async () => {
  const { database, publish, reads, subscribe } = await openTail({ pollMs: 10 });
  const one = subscribe(numbers);
  await expect.poll(one.rereads).toBe(1);
  reads.pause();
  await expect.poll(() => reads.pausedCount).toBe(1);
  await publish(1);
  await waitForHorizon(database);
  await database.query("truncate outbox_1");
  reads.resume();
  await expect.poll(one.rereads).toBe(2);
  await publish(2);
  await expect.poll(() => one.received).toEqual([2]);
});

test("a tail reads again after the database has lost its last transactions", async () => {
  const { database, publish, subscribe } = await openTail({ pollMs: 10 });
  const one = subscribe(numbers);
  await expect.poll(one.rereads).toBe(1);
  // The stored epoch is set back in place of the transaction ids, which cannot be set back.
  await database.query("update outbox_state set epoch = 0");
  await expect.poll(one.rereads).toBe(2);
  await publish(1);
  await expect.poll(() => one.received).toEqual([1]);
});
