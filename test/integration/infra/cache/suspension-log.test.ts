import { expect, inject, test } from "vitest";
import { LOGGED_SUSPENSION_MS } from "../../../../src/infra/cache/invalidation/lease-monitor.ts";
import { createUndisturbedOptions, openReplica, waitUntilUsed } from "../../../support/cache/replica.ts";
import { type LogLine, recordingLog } from "../../../support/rpc/rpc-server.ts";

/** Suspends the cache of a replica for a time, and returns what is logged until it is used again. */
async function suspend(ms: number): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  const options = createUndisturbedOptions();
  const { clock } = options;
  const replica = openReplica(inject("redisUrl"), { ...options, log: recordingLog(lines) });
  await waitUntilUsed(replica);
  replica.bus.lease.revoke();
  clock.advance(ms);
  await expect.poll(() => replica.bus.lease.isHeld, { interval: 5 }).toBe(true);
  clock.advance(10 * LOGGED_SUSPENSION_MS);
  return lines.filter(({ message }) => message.startsWith("Cache "));
}

const reason = "invalidation failed";

test("a short suspension of the cache is logged at level debug only, with its duration in whole milliseconds", async () => {
  expect(await suspend(LOGGED_SUSPENSION_MS - 1.4)).toEqual([
    { level: "debug", fields: { reason, durationMs: LOGGED_SUSPENSION_MS - 1 }, message: "Cache resumed" },
  ]);
});

test("a suspension that lasts is warned of once, and its end is logged", async () => {
  expect(await suspend(LOGGED_SUSPENSION_MS + 0.4)).toEqual([
    { level: "warn", fields: { reason }, message: "Cache suspended; reads bypass it" },
    { level: "info", fields: { reason, durationMs: LOGGED_SUSPENSION_MS }, message: "Cache resumed" },
  ]);
});
