import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { AppError } from "../../../../src/kernel/errors.ts";
import { createRequest, createUndisturbedOptions, openTwoReplicas } from "../../../support/cache/replica.ts";

test("the cache keeps its memory bound for entries of any size, and the most recently used entries", async () => {
  const maxBytes = 400_000;
  const [{ cache }] = await openTwoReplicas(undefined, { maxBytes, ...createUndisturbedOptions() });
  const sizes = [10, 500, 20_000, 3, 7_000];
  let encodedBytes = 0;
  for (let count = 0; encodedBytes < 10 * maxBytes; count += 1) {
    const size = sizes[count % sizes.length] ?? 0;
    encodedBytes += size;
    const request = createRequest(randomUUID(), async () => "x".repeat(size));
    await cache.getOrLoad(request);
    expect((await cache.getOrLoad(request)).state).toBe("memory");
    expect(cache.stats().bytes).toBeLessThanOrEqual(maxBytes);
  }
  expect(cache.stats().bytes).toBeGreaterThan(maxBytes / 2);
  // An entry as large as the bound is not stored and evicts nothing.
  const { entries } = cache.stats();
  await cache.getOrLoad(createRequest(randomUUID(), async () => "x".repeat(maxBytes)));
  expect(cache.stats().entries).toBe(entries);
});

test("requests for many nonexistent ids evict no values", async () => {
  const maxBytes = 300_000;
  const [{ cache }] = await openTwoReplicas(undefined, { maxBytes, ...createUndisturbedOptions() });
  const existing = Array.from({ length: 100 }, () => createRequest(randomUUID(), async () => "value"));
  for (const request of existing) await cache.getOrLoad(request);
  const loadMissing = async () => {
    throw new AppError("not_found", "No such product.", { reason: "PRODUCT_NOT_FOUND" });
  };
  for (let count = 0; count < 1_000; count += 1)
    await cache.getOrLoad(createRequest(randomUUID(), loadMissing));
  const states = await Promise.all(existing.map(async (request) => (await cache.getOrLoad(request)).state));
  expect(new Set(states)).toEqual(new Set(["memory"]));
  expect(cache.stats().bytes).toBeLessThanOrEqual(maxBytes);
});
