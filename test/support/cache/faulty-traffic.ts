import { expect } from "vitest";
import { checkFreshness, type Traffic } from "./freshness.ts";
import { createRequest, type Replica, waitUntilUsed } from "./replica.ts";
import { createCacheClient, SlowRows } from "./slow-rows.ts";

const ROWS = 5;

/**
 * Injects a fault and ends it. It waits for the progress of the traffic where the fault must last: reads that are
 * complete before it ends have not waited for it.
 */
export type Fault = (traffic: Traffic) => Promise<void>;

/**
 * Checks that no read of the replicas is stale or fails before, during and after a fault, and that they use
 * Redis again and agree with the database afterwards. The first replica writes.
 */
export async function checkFault(replicas: readonly Replica[], fault: Fault): Promise<void> {
  const rows = new SlowRows(4);
  const clients = replicas.map((replica) => createCacheClient(replica, rows));
  const { stale } = await checkFreshness({
    clients,
    writers: 1,
    rows: ROWS,
    reads: 1_000,
    writes: 20,
    concurrency: 20,
    pauseMs: () => Math.random() * 30,
    during: async (traffic) => {
      await traffic.progress(200, 5);
      await fault(traffic);
      await Promise.all(replicas.map(waitUntilUsed));
      await traffic.progress(200, 5);
    },
  });
  expect(stale.slice(0, 5)).toEqual([]);
  for (const replica of replicas) {
    const request = createRequest("after the fault", async () => "");
    await expect
      .poll(async () => (await replica.cache.getOrLoad(request)).state, { timeout: 30_000 })
      .toBe("memory");
  }
  for (let row = 0; row < ROWS; row += 1) {
    const stored = Number(await rows.read(row));
    await expect
      .poll(() => Promise.all(clients.map((client) => client.read(row))), { timeout: 30_000 })
      .toEqual(clients.map(() => stored));
  }
}

/** Waits until the replica no longer relies on Redis. */
export async function waitUntilBypassed({ bus }: Replica): Promise<void> {
  await expect.poll(() => bus.lease.isUp, { timeout: 30_000, interval: 5 }).toBe(false);
}
