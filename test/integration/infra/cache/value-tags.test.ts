import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { expect, test, vi } from "vitest";
import {
  createControlledLoad,
  createRequest,
  createUndisturbedOptions,
  endLockWait,
  openTwoReplicas,
  type Replica,
  textOf,
  waitUntilStored,
} from "../../../support/cache/replica.ts";

/** A request for a list that shows one product. The tag of the product is known from the value only. */
function createList(load: () => Promise<string>) {
  const tag = `product:${randomUUID()}`;
  const list = { tags: ["list"], tagsOf: () => [tag, "list"] };
  const request = createRequest(randomUUID(), load, list);
  return { tag, request, withLoad: (other: () => Promise<string>) => ({ ...request, load: other }) };
}

const read = async ({ cache }: Replica, request: ReturnType<typeof createRequest>) => {
  const result = await cache.getOrLoad(request);
  return `${result.state} ${textOf(result)}`;
};

/** Waits until no process holds the lock of an entry: its load and what follows are over. */
async function waitUntilUnlocked({ redis }: Replica, key: string): Promise<void> {
  await expect.poll(() => redis.client.keys(`*lock:${key}`), { interval: 5 }).toEqual([]);
}

/** Returns the number of entries of a key in Redis. */
const countStored = async ({ redis }: Replica, key: string) =>
  (await redis.client.keys(`*entry:${key}`)).length;

test("an entry is shared through Redis until one of its value's tags is invalidated", async () => {
  const [first, second] = await openTwoReplicas(undefined, createUndisturbedOptions());
  let value = "old";
  const { tag, request } = createList(async () => value);
  expect(await read(first, request)).toBe("miss old");
  await waitUntilStored(first, request.key);
  expect([await read(second, request), await read(second, request)]).toEqual(["redis old", "memory old"]);
  value = "new";
  await second.invalidate(tag);
  expect([await read(second, request), await read(first, request)]).toContain("miss new");
  expect([await read(second, request), await read(first, request)]).toEqual(["memory new", "memory new"]);
});

test("an entry in Redis is not used if a tag of its value has no generation any more", async () => {
  const [first, second] = await openTwoReplicas(undefined, createUndisturbedOptions());
  const { tag, request, withLoad } = createList(async () => "old");
  await read(first, request);
  await waitUntilStored(first, request.key);
  const [key = ""] = await first.redis.client.keys(`*tag:${tag}`);
  await first.redis.client.del(key);
  expect(
    await read(
      second,
      withLoad(async () => "new"),
    ),
  ).toBe("miss new");
});

test("a value that was loaded before an invalidation of its tags is stored nowhere", async () => {
  const [first, second] = await openTwoReplicas(undefined, createUndisturbedOptions());
  const slow = createControlledLoad(() => "old");
  const { tag, request, withLoad } = createList(slow.load);
  const early = read(first, request);
  await slow.started;
  await second.invalidate(tag);
  slow.complete();
  expect(await early).toBe("miss old");
  await waitUntilUnlocked(first, request.key);
  expect(await countStored(first, request.key)).toBe(0);
  expect(first.cache.stats().fencedFills).toBe(1);
  const fresh = withLoad(async () => "new");
  expect([await read(first, fresh), await read(second, fresh)]).not.toContain("memory old");
});

test("a value is not stored in Redis if an invalidation of its tags is still under way to its process", async () => {
  const duplicate = vi.spyOn(Redis.prototype, "duplicate");
  const [first, second] = await openTwoReplicas(undefined, createUndisturbedOptions());
  const subscriber = duplicate.mock.results[0]?.value;
  duplicate.mockRestore();
  const slow = createControlledLoad(() => "old");
  const { tag, request, withLoad } = createList(slow.load);
  const tagKey = await createGeneration(second, tag);
  const early = read(first, request);
  await slow.started;
  // What Redis sends stays in the socket.
  subscriber?.stream.pause();
  const invalidated = second.invalidate(tag);
  // Redis has accepted it: the generation that the entry would be stored with is created after it.
  await expect.poll(() => second.redis.client.exists(tagKey), { interval: 2 }).toBe(0);
  slow.complete();
  expect(await early).toBe("miss old");
  await expect.poll(() => second.redis.client.exists(tagKey), { interval: 2 }).toBe(1);
  subscriber?.stream.resume();
  await waitUntilUnlocked(first, request.key);
  expect(await countStored(first, request.key)).toBe(0);
  await invalidated;
  expect(
    await read(
      second,
      withLoad(async () => "new"),
    ),
  ).toBe("miss new");
});

test("a value is stored nowhere if the lease was lost and granted again during its load", async () => {
  const [first, second] = await openTwoReplicas();
  const slow = createControlledLoad(() => "old");
  const { request, withLoad } = createList(slow.load);
  const early = read(first, request);
  await slow.started;
  // Invalidations may be missed until the lease is granted again.
  first.bus.lease.revoke();
  await expect.poll(() => first.bus.lease.isHeld, { interval: 2 }).toBe(true);
  slow.complete();
  expect(await early).toBe("miss old");
  const fresh = withLoad(async () => "new");
  for (const replica of [first, second, first])
    expect(textOf(await replica.cache.getOrLoad(fresh))).toBe("new");
});

test("a call that joins a load does not return a value whose tags were invalidated before the call", async () => {
  const options = createUndisturbedOptions();
  const [first, second] = await openTwoReplicas(undefined, options);
  const slow = createControlledLoad(() => "old");
  const { tag, request, withLoad } = createList(slow.load);
  const early = read(first, request);
  await slow.started;
  await second.invalidate(tag);
  let loads = 0;
  const fresh = withLoad(async () => {
    loads += 1;
    return "new";
  });
  options.clock.advance(1);
  // The tag is not known before the load is over.
  const late = [1, 2, 3].map(async () => textOf(await first.cache.getOrLoad(fresh)));
  slow.complete();
  expect(await early).toBe("miss old");
  // The lock of the first load may still be in Redis.
  await waitUntilUnlocked(first, request.key);
  await endLockWait(options.clock);
  expect(await Promise.all(late)).toEqual(["new", "new", "new"]);
  expect(loads).toBe(1);
});

/** Creates the generation of a tag. @returns its key */
async function createGeneration({ bus, redis }: Replica, tag: string): Promise<string> {
  await bus.redisTier.ensureGenerations([tag]);
  const [key = ""] = await redis.client.keys(`*tag:${tag}`);
  return key;
}
