import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import {
  cacheRequest,
  gate,
  openReplicas,
  type Replica,
  resultOf,
  turn,
  undisturbed,
} from "../../../support/cache/replica.ts";

let replicas: Replica[];
beforeAll(async () => {
  replicas = await openReplicas([inject("redisUrl"), inject("redisUrl")]);
});
afterAll(() => Promise.all(replicas.map((replica) => replica.close())));

const CALLERS = 10_000;

/** So many who ask each replica at once for what takes `ms` to make. @returns how often it was made */
async function herd(callers: number, ms: number): Promise<number> {
  let loads = 0;
  const ask = cacheRequest(randomUUID(), async () => {
    loads += 1;
    await new Promise((resolve) => setTimeout(resolve, ms));
    return "tea";
  });
  const calls = replicas.flatMap(({ cache }) =>
    Array.from({ length: callers }, async () => resultOf(await cache.getOrLoad(ask))),
  );
  expect(new Set(await Promise.all(calls))).toEqual(new Set(["tea"]));
  return loads;
}

test("10,000 callers at once in each of two processes have a cold answer made once, or once in each", async () => {
  for (const ms of [0, 1, 60, 200]) expect(await herd(CALLERS, ms)).toBeLessThanOrEqual(replicas.length);
});

test("what takes a moment to make is made in one process, and the other waits for it", () =>
  undisturbed(replicas, async () => {
    const loads: number[] = [];
    for (let round = 0; round < 10; round += 1) loads.push(await herd(10, 5));
    expect(Math.max(...loads)).toBeLessThanOrEqual(replicas.length);
    expect(loads.filter((count) => count === 1).length).toBeGreaterThan(5);
  }));

test("they wait for each other without Redis, too", async () => {
  const [lonely] = replicas;
  if (lonely === undefined) throw new Error("it was not opened");
  lonely.redis.client.disconnect();
  lonely.bus.close();
  let loads = 0;
  const go = gate();
  const ask = cacheRequest(randomUUID(), async () => {
    loads += 1;
    await go.promise;
    return "tea";
  });
  const calls = Array.from({ length: CALLERS }, async () => lonely.cache.getOrLoad(ask));
  await turn();
  go.resolve();
  const found = await Promise.all(calls);
  expect(new Set(found.map(({ state }) => state))).toEqual(new Set(["bypass"]));
  expect(loads).toBe(1);
  // It was kept by nobody.
  await lonely.cache.getOrLoad(ask);
  expect(loads).toBe(2);
});
