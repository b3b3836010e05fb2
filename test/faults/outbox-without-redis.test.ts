import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { LEASE_MS } from "../../src/infra/cache/invalidation/lease-monitor.ts";
import { applyBatch } from "../../src/infra/outbox/consumer/apply-batch.ts";
import { createMaintenance } from "../../src/infra/outbox/consumer/maintain-outbox.ts";
import { createInvalidationConsumer } from "../../src/infra/outbox/invalidation/invalidation-consumer.ts";
import { withInvalidationOutbox } from "../../src/infra/outbox/invalidation/invalidation-outbox.ts";
import { internalCall } from "../../src/kernel/call.ts";
import { waitUntilBypassed } from "../support/cache/faulty-traffic.ts";
import {
  createRequest,
  createUndisturbedOptions,
  openReplica,
  type Replica,
  textOf,
  waitUntilUsed,
} from "../support/cache/replica.ts";
import { silentLog } from "../support/log.ts";
import { waitForHorizon } from "../support/outbox/horizon.ts";
import { type OutboxFixture, openOutboxFixture } from "../support/outbox/outbox-fixture.ts";
import { startDedicatedRedis } from "../support/stores/dedicated-redis.ts";

const call = internalCall();
const ROUNDS = 6;
const ROUND_ROWS = 20;

/** Opens an outbox whose only consumer invalidates the cache of a replica. */
async function openConsumer() {
  const fixture = await openOutboxFixture();
  await fixture.addCursor("cache-invalidation");
  return {
    fixture,
    /** Commits changes of tags as a process does that dies before it invalidates them. */
    async change(...tags: string[]): Promise<void> {
      const dead = withInvalidationOutbox(fixture.db, {
        invalidate: async () => {},
        invalidateThrottled: () => {},
        ensureInvalidated: async () => {},
      });
      for (const tag of tags) await dead.transact(call, async (tx) => tx.invalidate(tag));
      await waitForHorizon(fixture.database);
    },
    /** Creates the maintenance of a process with this replica. */
    maintain({ bus }: Replica) {
      const consumer = {
        ...createInvalidationConsumer(bus),
        limits: { rows: ROUND_ROWS - 1, ageMs: 3_600_000 },
      };
      const db = withInvalidationOutbox(fixture.db, bus);
      return createMaintenance({ db, call, consumers: [consumer], log: silentLog, rotationBytes: 1 });
    },
    /** Runs a batch of the consumer in a process with this replica, as if all events had their minimum age. */
    async apply({ bus }: Replica): Promise<number> {
      await waitForHorizon(fixture.database);
      return (await applyBatch(fixture.db, call, { ...createInvalidationConsumer(bus), minAgeMs: 0 })).events;
    },
  };
}

async function countRows({ database }: OutboxFixture): Promise<number> {
  const tables = "select 1 from outbox_1 union all select 1 from outbox_2 union all select 1 from outbox_3";
  return (await database.query(tables)).length;
}

/** Reads a response with the tag `product:1`; it is `value` unless one is cached. */
async function read({ cache }: Replica, value: string): Promise<string> {
  return textOf(await cache.getOrLoad({ ...createRequest("key", async () => value), tags: ["product:1"] }));
}

const someTags = () => Array.from({ length: ROUND_ROWS }, (_, index) => `product:${index}`);

test("while Redis is stopped the outbox stays bounded, and nothing is stale when it is started again", async () => {
  const server = await startDedicatedRedis();
  const { fixture, change, maintain, apply } = await openConsumer();
  const replica = openReplica(server.url);
  await waitUntilUsed(replica);
  expect(await read(replica, "old")).toBe("old");
  await server.kill();
  await waitUntilBypassed(replica);
  const maintenance = maintain(replica);
  for (let round = 0; round < ROUNDS; round += 1) {
    await change(...someTags());
    await maintenance.run();
    await waitForHorizon(fixture.database);
  }
  expect(maintenance.counters).toEqual({ rotations: ROUNDS, skips: ROUNDS });
  // A table holds a round at most, with the event that replaces those before.
  expect(await countRows(fixture)).toBeLessThanOrEqual(2 * (ROUND_ROWS + 1));
  await expect(apply(replica)).rejects.toThrow("Redis did not accept");
  await server.start();
  await waitUntilUsed(replica);
  expect(await apply(replica)).toBe(1);
  expect(await read(replica, "new")).toBe("new");
  expect(await apply(replica)).toBe(0);
});

test("a process without Redis drops events and dies, and the next one invalidates everything", async () => {
  const [server, stopped] = [await startDedicatedRedis(), await startDedicatedRedis()];
  const { fixture, change, maintain, apply } = await openConsumer();
  const namespace = randomUUID();
  const options = createUndisturbedOptions();
  const reader = openReplica(server.url, { namespace, ...options });
  const isolated = openReplica(stopped.url, { namespace });
  await Promise.all([reader, isolated].map(waitUntilUsed));
  options.clock.advance(LEASE_MS + 1);
  await expect.poll(() => reader.bus.lease.isHeld, { interval: 5 }).toBe(true);
  expect(await read(reader, "old")).toBe("old");
  await stopped.kill();
  await waitUntilBypassed(isolated);
  await change(...someTags());
  const maintenance = maintain(isolated);
  await maintenance.run();
  expect(maintenance.counters.skips).toBe(1);
  await isolated.close();
  // The events of the changes are unread no more.
  await waitForHorizon(fixture.database);
  expect(await read(reader, "new")).toBe("old");
  expect(await apply(reader)).toBe(1);
  expect(await read(reader, "new")).toBe("new");
});

test("a process without Redis leaves its throttled invalidations to the consumers of others", async () => {
  const [server, stopped] = [await startDedicatedRedis(), await startDedicatedRedis()];
  const { fixture, apply } = await openConsumer();
  const namespace = randomUUID();
  const reader = openReplica(server.url, { namespace });
  const isolated = openReplica(stopped.url, { namespace });
  await Promise.all([reader, isolated].map(waitUntilUsed));
  await stopped.kill();
  await waitUntilBypassed(isolated);
  const { tagVersions } = isolated.bus;
  const before = tagVersions.current;
  const change = { tag: "product:1", version: 2n };
  await withInvalidationOutbox(fixture.db, isolated.bus).transact(call, async (tx) =>
    tx.invalidateThrottled(change.tag, change.version),
  );
  // The attempts to publish it are over.
  await expect.poll(() => tagVersions.isThrottledSince([change.tag], before), { interval: 5 }).toBe(true);
  await expect(apply(isolated)).rejects.toThrow("Redis did not accept");
  expect(reader.bus.tagVersions.hasThrottled(change)).toBe(false);
  expect(await apply(reader)).toBe(1);
  expect(reader.bus.tagVersions.hasThrottled(change)).toBe(true);
});
