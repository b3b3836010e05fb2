import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import {
  createControlledLoad,
  createRequest,
  createStoppedClock,
  createUndisturbedOptions,
  endLockWait,
  openTwoReplicas,
  textOf,
} from "../../../support/cache/replica.ts";

const CALLERS = 10_000;
/** How long the lock of a load is kept in Redis, in milliseconds. */
const LOCK_TTL_MS = 200;

test("for 10,000 concurrent calls in each of two replicas, one replica loads the entry once and the other waits for it", async () => {
  const replicas = await openTwoReplicas(undefined, createUndisturbedOptions());
  for (;;) {
    const load = createControlledLoad(() => "tea");
    const request = createRequest(randomUUID(), load.load);
    const startMs = performance.now();
    const calls = replicas.flatMap(({ cache }) =>
      Array.from({ length: CALLERS }, async () => textOf(await cache.getOrLoad(request))),
    );
    await load.started;
    load.complete();
    expect(new Set(await Promise.all(calls))).toEqual(new Set(["tea"]));
    if (load.count() === 1) return;
    // On a busy machine the lock may expire in Redis before the entry is stored: then the other replica loads it too.
    expect(performance.now() - startMs).toBeGreaterThan(LOCK_TTL_MS);
    expect(load.count()).toBe(replicas.length);
  }
});

test("a replica that has waited too long for another one loads the entry itself, once for all its callers", async () => {
  const clock = createStoppedClock();
  const replicas = await openTwoReplicas(undefined, { clock, commandTimeoutMs: 30_000 });
  const load = createControlledLoad(() => "tea");
  const request = createRequest(randomUUID(), load.load);
  const calls = replicas.flatMap(({ cache }) =>
    Array.from({ length: CALLERS }, async () => textOf(await cache.getOrLoad(request))),
  );
  await load.started;
  await endLockWait(clock);
  await expect.poll(() => load.count()).toBe(replicas.length);
  load.complete();
  expect(new Set(await Promise.all(calls))).toEqual(new Set(["tea"]));
  expect(load.count()).toBe(replicas.length);
});

test("concurrent calls share one load without Redis too, and its value is not stored", async () => {
  const [replica] = await openTwoReplicas();
  await replica.close();
  const load = createControlledLoad(() => "tea");
  const request = createRequest(randomUUID(), load.load);
  const calls = Array.from({ length: CALLERS }, async () => replica.cache.getOrLoad(request));
  await load.started;
  load.complete();
  const results = await Promise.all(calls);
  expect(new Set(results.map(({ state }) => state))).toEqual(new Set(["bypass"]));
  expect(load.count()).toBe(1);
  await replica.cache.getOrLoad(request);
  expect(load.count()).toBe(2);
});
