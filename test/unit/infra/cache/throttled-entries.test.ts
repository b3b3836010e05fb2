import { Redis } from "ioredis";
import { expect, onTestFinished, test } from "vitest";
import { Cache } from "../../../../src/infra/cache/cache.ts";
import { InvalidationThrottle } from "../../../../src/infra/cache/invalidation/invalidation-throttle.ts";
import { RedisTier } from "../../../../src/infra/cache/redis-tier.ts";
import { TagVersions } from "../../../../src/infra/cache/tag-versions.ts";
import {
  createControlledLoad,
  createRequest,
  createStoppedClock,
  textOf,
} from "../../../support/cache/replica.ts";

const TAG = "product:1";

/** Creates a cache in memory whose lease is always held, and a row whose changes are invalidated throttled. */
function createCache() {
  const clock = createStoppedClock();
  const tagVersions = new TagVersions();
  const client = new Redis({ lazyConnect: true, enableOfflineQueue: false });
  onTestFinished(() => client.disconnect());
  const bus = {
    clock,
    tagVersions,
    redisTier: new RedisTier(client, "test", "test"),
    lease: { isHeld: true, isUp: true, waitUntilHeld: async () => true },
    onInvalidateAll: () => {},
    waitForEarlierInvalidations: async () => true,
  };
  const cache = new Cache<string>({ bus, maxBytes: 1_000_000 });
  const throttle = new InvalidationThrottle({
    clock,
    send: (change) => tagVersions.invalidateThrottled([change], clock.monotonicMs()),
  });
  const row = { value: 0, loads: 0, change };
  function change(value: number) {
    row.value = value;
    throttle.add({ tag: TAG, version: BigInt(value) });
  }
  const request = createRequest("key", load, { tags: [TAG] });
  async function load(): Promise<string> {
    row.loads += 1;
    return String(row.value);
  }
  const read = async () => {
    const result = await cache.getOrLoad(request);
    return `${result.state} ${textOf(result)}`;
  };
  return { clock, cache, row, request, read };
}

test("during steady changes all reads are from memory, the value is a second old at most, and is loaded less than twice a second", async () => {
  const { clock, row, read } = createCache();
  row.change(0);
  await read();
  row.loads = 0;
  const seconds = 10;
  const ages: number[] = [];
  for (let step = 1; step <= 100 * seconds; step += 1) {
    clock.advance(10);
    row.change(step);
    const [state, value] = (await read()).split(" ");
    expect(state).toBe("memory");
    ages.push(10 * (step - Number(value)));
    // The refresh in the background ends.
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(Math.max(...ages)).toBeGreaterThan(500);
  expect(Math.max(...ages)).toBeLessThanOrEqual(1_000);
  expect(row.loads).toBeGreaterThanOrEqual(seconds);
  expect(row.loads).toBeLessThan(2 * seconds);
});

test("a value that is loaded soon after a throttled invalidation is used for a second, also if no other one arrives", async () => {
  const { clock, row, read } = createCache();
  row.change(1);
  clock.advance(500);
  expect(await read()).toBe("miss 1");
  // The process of this change delays its invalidation, and is slow to send it.
  row.value = 2;
  clock.advance(999);
  expect(await read()).toBe("memory 1");
  clock.advance(1);
  expect(await read()).toContain(" 2");
});

test("a value that is loaded later than that is used until it expires or is invalidated", async () => {
  const { clock, row, read } = createCache();
  row.change(1);
  clock.advance(1_051);
  expect(await read()).toBe("miss 1");
  row.value = 2;
  clock.advance(30_000);
  expect(await read()).toBe("memory 1");
  row.change(3);
  expect(await read()).toBe("miss 3");
});

test("a call joins a load that may lack changes if it started in the last second only", async () => {
  const { clock, cache, row, request } = createCache();
  row.change(1);
  const slow = createControlledLoad(() => "old");
  const early = cache.getOrLoad({ ...request, load: slow.load });
  await slow.started;
  clock.advance(1_000);
  const later = createControlledLoad(() => "new");
  const late = [1, 2, 3].map(async () => cache.getOrLoad({ ...request, load: later.load }));
  later.complete();
  slow.complete();
  expect(textOf(await early)).toBe("old");
  expect((await Promise.all(late)).map(textOf)).toEqual(["new", "new", "new"]);
  expect(later.count()).toBe(1);
});
