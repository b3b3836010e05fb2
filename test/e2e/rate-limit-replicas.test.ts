import { connect } from "node:http2";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ServiceProcess, startProcess } from "../support/service-process.ts";
import { createTestDatabase, type TestDatabase } from "../support/stores/database.ts";
import { type RedisServer, startRedisServer } from "../support/stores/redis-server.ts";

const UNITS = 100;
const CALLS = 10_000;
const CONCURRENCY = 16;

let database: TestDatabase;
let redis: RedisServer;
let processes: ServiceProcess[];
let callers: (() => Promise<Response>)[];
const sessionsToClose: (() => void)[] = [];

/** The status of a response, and its times by the clock of the test. */
interface Response {
  sentMs: number;
  receivedMs: number;
  /** 404 if the rate limit allowed the call, 429 if not. */
  status: number;
  remaining: number;
}

beforeAll(async () => {
  [database, redis] = await Promise.all([createTestDatabase(), startRedisServer()]);
  const env = {
    PORT: "0",
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    SEED_DEMO: "off",
    WORKERS: "0",
    LIMITS: "on",
    ACCESS: "off",
    LIMIT_READ: `${UNITS}/1`,
  };
  processes = [startProcess(env), startProcess(env)];
  const urls = await Promise.all(processes.map(({ listening }) => listening));
  callers = urls.map(openCaller);
});

afterAll(async () => {
  for (const close of sessionsToClose) close();
  for (const { child } of processes) child.kill("SIGTERM");
  await Promise.all(processes.map(({ exited }) => exited));
  await Promise.all([redis.stop(), database.drop()]);
});

/**
 * Opens an HTTP/2 connection.
 * @returns a function that requests a nonexistent product, which costs 1 unit
 */
function openCaller(url: string): () => Promise<Response> {
  const session = connect(url);
  session.on("error", () => {});
  sessionsToClose.push(() => session.destroy());
  const query = `encoding=json&message=${encodeURIComponent(JSON.stringify({ sku: "NONE" }))}`;
  const path = `/cartwright.catalog.v1.CatalogService/GetProduct?${query}`;
  return () =>
    new Promise((resolve, reject) => {
      const sentMs = performance.now();
      const stream = session.request({ ":path": path });
      stream.on("response", (headers) => {
        const receivedMs = performance.now();
        const remaining = Number(headers["ratelimit-remaining"]);
        stream.on("end", () =>
          resolve({ sentMs, receivedMs, status: Number(headers[":status"]), remaining }),
        );
        stream.resume();
      });
      stream.on("error", reject);
    });
}

/** Waits until both replicas count in Redis: then the second call finds fewer units than the first. */
async function waitUntilShared(): Promise<void> {
  await expect
    .poll(async () => {
      const remaining: number[] = [];
      for (const call of callers) remaining.push((await call()).remaining);
      return remaining;
    })
    .toSatisfy(([first = 0, second = 0]: number[]) => second < first);
}

async function callConcurrently(): Promise<Response[]> {
  const responses: Response[] = [];
  let left = CALLS;
  const callRepeatedly = async (index: number) => {
    while (left > 0) {
      left -= 1;
      const response = await callers[(left + index) % callers.length]?.();
      if (response !== undefined) responses.push(response);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, (_, index) => callRepeatedly(index)));
  return responses;
}

/**
 * Counts the calls that were both sent and received within one second, and returns the maximum over all seconds. Redis
 * decided on each of them within that second, so a count above the budget is always an error.
 */
function countBusiestSecond(allowed: readonly Response[]): number {
  const bySent = allowed.toSorted((one, other) => one.sentMs - other.sentMs);
  return bySent.reduce((worst, { sentMs }, index) => {
    const within = bySent.slice(index).filter(({ receivedMs }) => receivedMs < sentMs + 1_000);
    return Math.max(worst, within.length);
  }, 0);
}

/** Returns whether a replica has enforced the budget locally because Redis timed out, as on a busy machine. */
const hasDiverged = () =>
  processes.some(({ lines }) =>
    lines.some(({ msg }) => msg === "Redis failed; enforcing rate limits locally"),
  );

test("two replicas together allow no more than the budget in any second, and use it", async () => {
  await waitUntilShared();
  const responses = await callConcurrently();
  expect(responses).toHaveLength(CALLS);
  const allowed = responses.filter(({ status }) => status === 404);
  expect(responses.filter(({ status }) => status !== 404 && status !== 429)).toEqual([]);
  // Without Redis each replica enforces the whole budget locally.
  expect(countBusiestSecond(allowed)).toBeLessThanOrEqual(hasDiverged() ? processes.length * UNITS : UNITS);
  expect(allowed.length).toBeGreaterThanOrEqual(UNITS);
  // Units become available again.
  for (const call of callers) await expect.poll(async () => (await call()).status).toBe(404);
});
