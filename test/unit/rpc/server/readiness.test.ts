import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createReadiness, type Readiness } from "../../../../src/rpc/server/services/readiness.ts";
import { silentLog } from "../../../support/log.ts";
import { type LogLine, recordingLog } from "../../../support/rpc/rpc-server.ts";

const limits = { readinessMaxAgeMs: 1_000, readinessTimeoutMs: 2_000 };
const READY: Readiness = { ready: true, checks: { store: "ok" } };
const AWAY: Readiness = { ready: false, checks: { store: "away" } };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

test("a result is reused for a second, so that probes do not load the stores", async () => {
  const check = vi.fn().mockResolvedValueOnce(READY).mockResolvedValue(AWAY);
  const readiness = createReadiness(check, new AbortController().signal, limits, silentLog);
  expect(await Promise.all([readiness(), readiness()])).toEqual([READY, READY]);
  vi.advanceTimersByTime(999);
  expect(await readiness()).toEqual(READY);
  expect(check).toHaveBeenCalledOnce();
  vi.advanceTimersByTime(1);
  expect(await readiness()).toEqual(AWAY);
});

test("a check that hangs counts as failed after two seconds", async () => {
  const readiness = createReadiness(
    () => new Promise(() => {}),
    new AbortController().signal,
    limits,
    silentLog,
  );
  const result = readiness();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(await result).toEqual({ ready: false, checks: { readiness: "timed out after 2000 ms" } });
});

test("a check that fails is logged, and its error is not shown", async () => {
  const lines: LogLine[] = [];
  const check = () => Promise.reject(new Error("boom"));
  const readiness = createReadiness(check, new AbortController().signal, limits, recordingLog(lines));
  expect(await readiness()).toEqual({ ready: false, checks: { readiness: "failed" } });
  expect(lines).toMatchObject([{ level: "error", message: "Readiness check failed" }]);
});

test("a server that begins to stop is not ready, even while a check runs", async () => {
  const drain = new AbortController();
  const { promise, resolve } = Promise.withResolvers<Readiness>();
  const readiness = createReadiness(() => promise, drain.signal, limits, silentLog);
  const result = readiness();
  drain.abort();
  resolve(READY);
  expect(await result).toEqual({ ready: false, checks: { server: "stopping" } });
});
