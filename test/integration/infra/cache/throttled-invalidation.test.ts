import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { newGeneration } from "../../../../src/infra/cache/redis-tier.ts";
import {
  createControlledLoad,
  createRequest,
  createUndisturbedOptions,
  openTwoReplicas,
  type Replica,
  textOf,
  waitUntilStored,
} from "../../../support/cache/replica.ts";

/** Opens two replicas on one stopped clock, and a request for a value that the test changes. */
async function openReplicas() {
  const options = createUndisturbedOptions();
  const [first, second] = await openTwoReplicas(undefined, options);
  const tag = `product:${randomUUID()}`;
  const row = { value: "0", loads: 0 };
  const request = createRequest(
    randomUUID(),
    async () => {
      row.loads += 1;
      return row.value;
    },
    { tags: [tag] },
  );
  return { clock: options.clock, first, second, tag, row, request };
}

const read = async ({ cache }: Replica, request: ReturnType<typeof createRequest>) => {
  const result = await cache.getOrLoad(request);
  return `${result.state} ${textOf(result)}`;
};

/** Waits until a replica has received the invalidation of a version. */
const received = ({ bus }: Replica, tag: string, version: bigint) =>
  expect.poll(() => bus.tagVersions.hasThrottled({ tag, version }), { interval: 2 }).toBe(true);

test("after a throttled invalidation no replica uses an entry that was loaded a second ago or earlier", async () => {
  const { clock, first, second, tag, row, request } = await openReplicas();
  await read(first, request);
  await waitUntilStored(first, request.key);
  expect([await read(first, request), await read(second, request)]).toEqual(["memory 0", "redis 0"]);
  clock.advance(1_000);
  row.value = "1";
  first.bus.invalidateThrottled({ tag, version: 1n });
  for (const replica of [first, second]) {
    await received(replica, tag, 1n);
    expect(await read(replica, request)).toBe("miss 1");
  }
});

test("an entry from Redis is not used after a throttled invalidation, since the time of its load is not known", async () => {
  const { first, second, tag, row, request } = await openReplicas();
  await read(first, request);
  await waitUntilStored(first, request.key);
  await read(second, request);
  row.value = "1";
  first.bus.invalidateThrottled({ tag, version: 1n });
  for (const replica of [first, second]) await received(replica, tag, 1n);
  expect([await read(first, request), await read(second, request)]).toEqual(["memory 0", "miss 1"]);
});

test("during steady changes all reads are from memory, the value is a second old at most, and is loaded less than twice a second", async () => {
  const { clock, first, second, tag, row, request } = await openReplicas();
  first.bus.invalidateThrottled({ tag, version: 0n });
  for (const replica of [first, second]) {
    await received(replica, tag, 0n);
    expect(await read(replica, request)).toBe("miss 0");
  }
  row.loads = 0;
  const seconds = 10;
  const ages: number[] = [];
  for (let step = 1; step <= 100 * seconds; step += 1) {
    clock.advance(10);
    row.value = String(step);
    first.bus.invalidateThrottled({ tag, version: BigInt(step) });
    for (const replica of [first, second]) {
      const [state, value] = (await read(replica, request)).split(" ");
      expect(state).toBe("memory");
      ages.push(10 * (step - Number(value)));
    }
    // The refresh in the background needs no response of Redis.
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(Math.max(...ages)).toBeLessThanOrEqual(1_000);
  expect(row.loads).toBeGreaterThanOrEqual(2 * seconds);
  expect(row.loads).toBeLessThan(2 * 2 * seconds);
});

test("a value that is loaded soon after a throttled invalidation is used for a second by its process only", async () => {
  const { clock, first, second, tag, row, request } = await openReplicas();
  first.bus.invalidateThrottled({ tag, version: 1n });
  for (const replica of [first, second]) await received(replica, tag, 1n);
  expect(await read(first, request)).toBe("miss 0");
  // Its process delays the invalidation of this change, and may be slow to send it.
  row.value = "1";
  expect([await read(first, request), await read(second, request)]).toEqual(["memory 0", "miss 1"]);
  expect(await first.redis.client.keys(`*entry:${request.key}`)).toEqual([]);
  clock.advance(999);
  row.value = "2";
  expect([await read(first, request), await read(second, request)]).toEqual(["memory 0", "memory 1"]);
  await expect.poll(() => read(first, request)).toBe("memory 2");
  // Later values are shared again.
  clock.advance(1_100);
  expect(await read(first, request)).toBe("miss 2");
  await waitUntilStored(first, request.key);
});

test("calls do not wait longer than a second for a load: they join one that started in that time only", async () => {
  const { clock, first, tag } = await openReplicas();
  first.bus.invalidateThrottled({ tag, version: 1n });
  await received(first, tag, 1n);
  const slow = createControlledLoad(() => "old");
  const key = randomUUID();
  const early = read(first, createRequest(key, slow.load, { tags: [tag] }));
  await slow.started;
  const later = createControlledLoad(() => "new");
  clock.advance(1_000);
  const late = [1, 2, 3].map(() => read(first, createRequest(key, later.load, { tags: [tag] })));
  later.complete();
  slow.complete();
  expect(await early).toBe("miss old");
  expect(await Promise.all(late)).toEqual(["miss new", "miss new", "miss new"]);
  expect(later.count()).toBe(1);
});

test("invalidations that are delayed are published when the process stops", async () => {
  const { first, second, tag } = await openReplicas();
  first.bus.invalidateThrottled({ tag, version: 1n });
  first.bus.invalidateThrottled({ tag, version: 2n });
  await received(second, tag, 1n);
  expect(second.bus.tagVersions.hasThrottled({ tag, version: 2n })).toBe(false);
  await first.bus.close();
  await received(second, tag, 2n);
});

test("throttled invalidations of one turn of the event loop share a message with the others", async () => {
  const { first, second, tag } = await openReplicas();
  const before = second.bus.tagVersions.current;
  for (let index = 0; index < 100; index += 1) {
    first.bus.invalidateThrottled({ tag: `${tag} ${index}`, version: 1n });
  }
  await first.invalidate("catalog");
  expect(second.bus.tagVersions.hasThrottled({ tag: `${tag} 99`, version: 1n })).toBe(true);
  // One for the tags, and one for the throttled tags.
  expect(second.bus.tagVersions.current - before).toBe(2);
});

test("the repetition of a throttled invalidation is skipped if the process has received that version or a later one", async () => {
  const { first, second, tag } = await openReplicas();
  first.bus.invalidateThrottled({ tag, version: 5n });
  for (const replica of [first, second]) await received(replica, tag, 5n);
  const before = second.bus.tagVersions.current;
  const repeat = (version: bigint) => {
    const throttled = [{ tag: tag.toUpperCase(), version }];
    const invalidation = { tags: [], undelayed: [], generation: newGeneration(), throttled };
    return second.bus.ensureAllInvalidated([invalidation]);
  };
  expect([await repeat(4n), await repeat(5n)]).toEqual([true, true]);
  expect(second.bus.tagVersions.current).toBe(before);
  // The writer of this version has crashed before it sent it.
  expect(await repeat(6n)).toBe(true);
  for (const replica of [first, second]) await received(replica, tag, 6n);
});
