import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { newGeneration } from "../../../../src/infra/cache/redis-tier.ts";
import {
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
    expect(textOf(await replica.cache.getOrLoad(request))).toBe("1");
  }
  expect(row.loads).toBe(3);
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
    const invalidation = { tags: [], immediate: [], generation: newGeneration(), throttled };
    return second.bus.ensureAllInvalidated([invalidation]);
  };
  expect([await repeat(4n), await repeat(5n)]).toEqual([true, true]);
  expect(second.bus.tagVersions.current).toBe(before);
  // The writer of this version has crashed before it sent it.
  expect(await repeat(6n)).toBe(true);
  for (const replica of [first, second]) await received(replica, tag, 6n);
});
