import { randomUUID } from "node:crypto";
import { expect, inject, test } from "vitest";
import { TagVersions } from "../../../../src/infra/cache/tag-versions.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { cacheRequest, openReplicas, undisturbed } from "../../../support/cache/replica.ts";

test("memory keeps to its bound whatever the sizes are, and what was used last", async () => {
  const maxBytes = 400_000;
  const [replica] = await openReplicas([inject("redisUrl")], maxBytes);
  if (replica === undefined) throw new Error("it was not opened");
  await undisturbed([replica], async () => {
    const { cache } = replica;
    const sizes = [10, 500, 20_000, 3, 7_000];
    let wire = 0;
    for (let count = 0; wire < 10 * maxBytes; count += 1) {
      const size = sizes[count % sizes.length] ?? 0;
      wire += size;
      const ask = cacheRequest(randomUUID(), async () => "x".repeat(size));
      await cache.getOrLoad(ask);
      expect((await cache.getOrLoad(ask)).state).toBe("memory");
      expect(cache.stats().bytes).toBeLessThanOrEqual(maxBytes);
    }
    expect(cache.stats().bytes).toBeGreaterThan(maxBytes / 2);
    // What would take it all is not kept, and drives out nothing.
    const { entries } = cache.stats();
    const huge = cacheRequest(randomUUID(), async () => "x".repeat(maxBytes));
    await cache.getOrLoad(huge);
    expect(cache.stats().entries).toBe(entries);
  });
  await replica.close();
});

test("a flood of made-up ids drives out no real answer", async () => {
  const [replica] = await openReplicas([inject("redisUrl")], 300_000);
  if (replica === undefined) throw new Error("it was not opened");
  await undisturbed([replica], async () => {
    const { cache } = replica;
    const real = Array.from({ length: 100 }, () => cacheRequest(randomUUID(), async () => "real"));
    for (const ask of real) await cache.getOrLoad(ask);
    const none = async () => {
      throw new AppError("not_found", "There is none.", { reason: "PRODUCT_NOT_FOUND" });
    };
    for (let count = 0; count < 1_000; count += 1) await cache.getOrLoad(cacheRequest(randomUUID(), none));
    const states = await Promise.all(real.map(async (ask) => (await cache.getOrLoad(ask)).state));
    expect(new Set(states)).toEqual(new Set(["memory"]));
    expect(cache.stats().bytes).toBeLessThanOrEqual(300_000);
  });
  await replica.close();
});

test("more tags than it remembers make what is older outdated, never current", () => {
  const log = new TagVersions();
  log.invalidate(["product:first"]);
  const before = log.current;
  log.invalidate(["product:bumped"]);
  const after = log.current;
  expect(log.isCurrent(["product:bumped"], before)).toBe(false);
  expect(log.isCurrent(["product:bumped"], after)).toBe(true);
  expect(log.isCurrent(["product:other"], before)).toBe(true);
  // The first hundred thousand push out those two; one more of them is then told from none.
  for (let count = 0; count < 100_000; count += 1) log.invalidate([`product:${count}`]);
  expect(log.isCurrent(["product:bumped"], before)).toBe(false);
  expect(log.isCurrent(["product:other"], before)).toBe(false);
  expect(log.isCurrent(["product:bumped"], after)).toBe(true);
  expect(log.isCurrent(["product:7"], log.current)).toBe(true);
  expect(log.isCurrent(["product:7"], after)).toBe(false);
  // In one go, too.
  const last = log.current;
  log.invalidate(Array.from({ length: 150_000 }, (_, count) => `sku:${count}`));
  expect(log.isCurrent(["sku:0"], last)).toBe(false);
  expect(log.isCurrent(["sku:149999"], last)).toBe(false);
  expect(log.isCurrent(["sku:0"], log.current)).toBe(true);
});

test("a tag that is bumped again is remembered as of then", () => {
  const log = new TagVersions();
  log.invalidate(["product:hot"]);
  for (let count = 0; count < 99_999; count += 1) log.invalidate([`product:${count}`]);
  const since = log.current;
  log.invalidate(["product:hot"]);
  log.invalidate(["product:new"]);
  expect(log.isCurrent(["product:hot"], since)).toBe(false);
  expect(log.isCurrent(["product:cold"], since)).toBe(true);
  log.invalidateAll();
  expect(log.isCurrent(["product:cold"], log.current - 1)).toBe(false);
  expect(log.isCurrent(["product:cold"], log.current)).toBe(true);
});
