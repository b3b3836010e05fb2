import { randomUUID } from "node:crypto";
import { expect, inject, test } from "vitest";
import { LEASE_MS } from "../../../../src/infra/cache/invalidation/lease-monitor.ts";
import { newGeneration } from "../../../../src/infra/cache/redis-tier.ts";
import { MAX_RECONNECT_DELAY_MS } from "../../../../src/infra/redis/redis.ts";
import {
  createControlledLoad,
  createRequest,
  createUndisturbedOptions,
  openReplica,
  openTwoReplicas,
  type Replica,
  type StoppedClock,
  textOf,
  waitUntilUsed,
} from "../../../support/cache/replica.ts";
import { openSimulatedReplica } from "../../../support/cache/simulated-replica.ts";
import { startDedicatedRedis } from "../../../support/stores/dedicated-redis.ts";

/** A replica that writes, on a stopped clock, and the namespace that it shares with simulated replicas. */
interface Writer {
  writer: Replica;
  clock: StoppedClock;
  namespace: string;
}

/** Opens a writer that has received all heartbeats for the duration of a lease. */
async function openWriter(url = inject("redisUrl")): Promise<Writer> {
  const { clock, commandTimeoutMs } = createUndisturbedOptions();
  const namespace = randomUUID();
  const writer = openReplica(url, { clock, commandTimeoutMs, namespace });
  await waitUntilUsed(writer);
  await endLeases({ writer, clock });
  return { writer, clock, namespace };
}

/** Advances the clock until all leases have ended, and waits for the next heartbeat. */
async function endLeases({ writer, clock }: Pick<Writer, "writer" | "clock">): Promise<void> {
  clock.advance(LEASE_MS + 1);
  await expect.poll(() => writer.bus.lease.isHeld, { interval: 2 }).toBe(true);
}

/** Returns whether a write is acknowledged after everything that Redis has delivered is handled. */
async function isAcknowledged(write: Promise<boolean>, { redis }: Replica): Promise<boolean> {
  for (let count = 0; count < 3; count += 1) {
    await redis.client.ping();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return Promise.race([
    write.then(() => true),
    new Promise<false>((resolve) => setImmediate(resolve, false)),
  ]);
}

test("a write is acknowledged when the other replica has acknowledged its invalidation", async () => {
  const { writer, namespace } = await openWriter();
  const other = await openSimulatedReplica(inject("redisUrl"), namespace);
  await other.heartbeat();
  const write = writer.invalidate("a");
  const message = await other.receive(1);
  expect(message.tags).toEqual(["a"]);
  expect(await isAcknowledged(write, writer)).toBe(false);
  await other.acknowledge(message);
  expect(await write).toBe(true);
});

test("a write waits for each of several replicas", async () => {
  const { writer, namespace } = await openWriter();
  const open = () => openSimulatedReplica(inject("redisUrl"), namespace);
  const [first, second] = await Promise.all([open(), open()]);
  await Promise.all([first.heartbeat(), second.heartbeat()]);
  const write = writer.invalidate("a");
  await first.acknowledge(await first.receive(1));
  expect(await isAcknowledged(write, writer)).toBe(false);
  await second.acknowledge(await second.receive(1));
  expect(await write).toBe(true);
});

test("a frozen replica delays the writes of one lease, and no later one", async () => {
  const { writer, clock, namespace } = await openWriter();
  const frozen = await openSimulatedReplica(inject("redisUrl"), namespace);
  await frozen.heartbeat();
  const first = writer.invalidate("a");
  await frozen.receive(1);
  clock.advance(LEASE_MS - 10);
  const second = writer.invalidate("b");
  await frozen.receive(2);
  expect(await isAcknowledged(Promise.race([first, second]), writer)).toBe(false);
  // Both wait for the lease that began before the first one.
  clock.advance(11);
  expect(await Promise.all([first, second])).toEqual([true, true]);
  expect(await writer.invalidate("c")).toBe(true);
});

test("heartbeats after an invalidation do not prolong its wait", async () => {
  const { writer, clock, namespace } = await openWriter();
  const other = await openSimulatedReplica(inject("redisUrl"), namespace);
  await other.heartbeat();
  const write = writer.invalidate("a");
  await other.receive(1);
  clock.advance(LEASE_MS);
  await other.heartbeat();
  expect(await isAcknowledged(write, writer)).toBe(false);
  clock.advance(1);
  expect(await write).toBe(true);
});

test("an acknowledgement covers all invalidations before it, and none after it", async () => {
  const { writer, namespace } = await openWriter();
  const other = await openSimulatedReplica(inject("redisUrl"), namespace);
  await other.heartbeat();
  const first = writer.invalidate("a");
  await other.receive(1);
  const second = writer.invalidate("b");
  const message = await other.receive(2);
  const third = writer.invalidate("c");
  await other.receive(3);
  await other.acknowledge(message);
  expect(await Promise.all([first, second])).toEqual([true, true]);
  expect(await isAcknowledged(third, writer)).toBe(false);
});

test("an acknowledgement of a small invalidation does not cover a large one that Redis publishes after it", async () => {
  const { writer, namespace } = await openWriter();
  const other = await openSimulatedReplica(inject("redisUrl"), namespace);
  await other.heartbeat();
  // It is published in 11 parts.
  const large = writer.invalidate(...Array.from({ length: 5_001 }, (_, index) => `tag ${index}`));
  await new Promise((resolve) => setImmediate(resolve));
  const small = writer.invalidate("small");
  await other.receive(12);
  const messages = other.invalidations.filter(({ sequence }) => sequence !== undefined);
  expect(messages.map(({ tags }) => tags)).toEqual([["small"], ["tag 5000"]]);
  const [first, second] = messages;
  if (first === undefined || second === undefined) throw new Error("two messages need an acknowledgement");
  await other.acknowledge(first);
  expect(await small).toBe(true);
  expect(await isAcknowledged(large, writer)).toBe(false);
  await other.acknowledge(second);
  expect(await large).toBe(true);
});

test("an acknowledgement of another replica does not count", async () => {
  const { writer, namespace } = await openWriter();
  const open = () => openSimulatedReplica(inject("redisUrl"), namespace);
  const [leased, unleased] = await Promise.all([open(), open()]);
  await leased.heartbeat();
  const write = writer.invalidate("a");
  await unleased.acknowledge(await unleased.receive(1));
  expect(await isAcknowledged(write, writer)).toBe(false);
  await leased.acknowledge(await leased.receive(1));
  expect(await write).toBe(true);
});

test("concurrent writes share one message and one acknowledgement", async () => {
  const { writer, namespace } = await openWriter();
  const other = await openSimulatedReplica(inject("redisUrl"), namespace);
  await other.heartbeat();
  const writes = Promise.all(["a", "b", "c"].map((tag) => writer.invalidate(tag)));
  const message = await other.receive(1);
  expect(message.tags).toEqual(["a", "b", "c"]);
  await other.acknowledge(message);
  expect(await writes).toEqual([true, true, true]);
  expect(other.invalidations).toHaveLength(1);
});

test("the receipt of an invalidation is stored after all acknowledgements", async () => {
  const { writer, namespace } = await openWriter();
  const other = await openSimulatedReplica(inject("redisUrl"), namespace);
  await other.heartbeat();
  const generation = newGeneration();
  const write = writer.bus.invalidate(["a"], generation);
  const message = await other.receive(1);
  await isAcknowledged(write, writer);
  expect;
  await other.acknowledge(message);
  await write;
  await expect.poll(() => writer.bus.redisTier.hasReceipts([generation])).toEqual([true]);
});

test("a writer that has just started waits for the leases that it may not have seen", async () => {
  const { clock, commandTimeoutMs } = createUndisturbedOptions();
  const writer = openReplica(inject("redisUrl"), { clock, commandTimeoutMs });
  await waitUntilUsed(writer);
  const write = writer.invalidate("a");
  expect(await isAcknowledged(write, writer)).toBe(false);
  clock.advance(LEASE_MS + 1);
  expect(await write).toBe(true);
});

test("a writer that has lost its subscription waits for the leases that it may not have seen, until it is subscribed for a lease", async () => {
  const server = await startDedicatedRedis();
  const { writer, clock } = await openWriter(server.url);
  expect(await writer.invalidate("a")).toBe(true);
  await server.command("client", "kill", "type", "pubsub");
  await expect.poll(() => writer.bus.lease.isUp, { interval: 2 }).toBe(false);
  const whileUnsubscribed = writer.invalidate("b");
  expect(await isAcknowledged(whileUnsubscribed, writer)).toBe(false);
  await expect.poll(() => server.command("pubsub", "channels", "*acks*")).toHaveLength(1);
  const afterwards = writer.invalidate("c");
  expect(await isAcknowledged(Promise.race([whileUnsubscribed, afterwards]), writer)).toBe(false);
  clock.advance(LEASE_MS + 1);
  expect(await Promise.all([whileUnsubscribed, afterwards])).toEqual([true, true]);
  // When its own heartbeats have arrived for a lease, no other one can be unknown.
  clock.advance(4 * MAX_RECONNECT_DELAY_MS);
  await waitUntilUsed(writer);
  await endLeases({ writer, clock });
  expect(await writer.invalidate("d")).toBe(true);
});

test("a write waits for a lease while a replica of the former version is subscribed, which receives its tags", async () => {
  const { writer, clock, namespace } = await openWriter();
  const former = await openSimulatedReplica(inject("redisUrl"), namespace, true);
  const write = writer.invalidate("a");
  expect((await former.receive(1)).tags).toEqual(["a"]);
  expect(await isAcknowledged(write, writer)).toBe(false);
  clock.advance(LEASE_MS + 1);
  expect(await write).toBe(true);
});

test("a replica acknowledges invalidations to their writer after it has dropped its entries, once for several", async () => {
  const { writer: replica, namespace } = await openWriter();
  const writer = await openSimulatedReplica(inject("redisUrl"), namespace);
  const keys = Array.from({ length: 20 }, () => randomUUID());
  let value = "old";
  // In memory only, as the simulated replica removes no generations from Redis.
  const requests = keys.map((key) => {
    const { decode: _, ...request } = createRequest(key, async () => value);
    return request;
  });
  for (const request of requests) await replica.cache.getOrLoad(request);
  value = "new";
  await writer.invalidate(...keys);
  await expect.poll(() => writer.acknowledgements.at(-1)?.sequence, { interval: 2 }).toBe(keys.length);
  for (const request of requests) expect(textOf(await replica.cache.getOrLoad(request))).toBe("new");
  expect(writer.acknowledgements.length).toBeLessThan(keys.length);
});

test("a replica acknowledges the last invalidation of a writer whose delayed message arrives after it", async () => {
  const { namespace } = await openWriter();
  const writer = await openSimulatedReplica(inject("redisUrl"), namespace);
  await writer.publish({ sequence: 2, tags: ["b"] }, { sequence: 1, tags: ["a"] });
  const sequences = () => writer.acknowledgements.map(({ sequence }) => sequence);
  await expect.poll(sequences, { interval: 2 }).toContain(2);
});

test("a read without a lease joins no load that started before it, and all such reads share one", async () => {
  const [replica] = await openTwoReplicas();
  await replica.close();
  const key = randomUUID();
  const slow = createControlledLoad(() => "old");
  const early = replica.cache.getOrLoad(createRequest(key, slow.load));
  await slow.started;
  // From here on, a write is acknowledged that this replica has not received.
  const fast = createControlledLoad(() => "new");
  const calls = Array.from({ length: 100 }, async () =>
    replica.cache.getOrLoad(createRequest(key, fast.load)),
  );
  fast.complete();
  expect(new Set((await Promise.all(calls)).map(textOf))).toEqual(new Set(["new"]));
  expect(fast.count()).toBe(1);
  slow.complete();
  expect(textOf(await early)).toBe("old");
});
