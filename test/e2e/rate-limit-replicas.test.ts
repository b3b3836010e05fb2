import { connect } from "node:http2";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { type ServiceProcess, startProcess } from "../support/service-process.ts";

const UNITS = 100;
const CALLS = 10_000;
const CONCURRENCY = 16;

let database: TestDatabase;
let redis: RedisServer;
let processes: ServiceProcess[];
let callers: (() => Promise<Response>)[];
const sessionsToClose: (() => void)[] = [];

/** A response and its times by this process's clock. */
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

/** Opens an HTTP/2 connection. @returns a function that requests a missing product, which costs 1 unit */
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

/** Waits until both processes use Redis: each sees what the other has spent. */
async function waitUntilShared(): Promise<void> {
  await expect
    .poll(async () => {
      const seen: number[] = [];
      for (const call of callers) seen.push((await call()).remaining);
      return seen;
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
 * Returns the most allowed calls that certainly fell into one second: the first was sent and the last response was
 * received within it. Redis decided on each in between, so more than the budget here is always an error.
 */
function countWorstSecond(allowed: readonly Response[]): number {
  const bySent = allowed.toSorted((one, other) => one.sentMs - other.sentMs);
  return bySent.reduce((worst, { sentMs }, index) => {
    const within = bySent.slice(index).filter(({ receivedMs }) => receivedMs < sentMs + 1_000);
    return Math.max(worst, within.length);
  }, 0);
}

/** Whether a process has enforced the budget alone because Redis did not respond in time, as on a busy machine. */
const hasDiverged = () =>
  processes.some(({ lines }) => lines.some(({ msg }) => String(msg).startsWith("Redis failed")));

test("Of 10,000 calls to two processes no second allows more than the shared budget, and the budget is used.", async () => {
  await waitUntilShared();
  const responses = await callConcurrently();
  expect(responses).toHaveLength(CALLS);
  const allowed = responses.filter(({ status }) => status === 404);
  expect(responses.filter(({ status }) => status !== 404 && status !== 429)).toEqual([]);
  // Without Redis each process has the budget for itself, and no more.
  expect(countWorstSecond(allowed)).toBeLessThanOrEqual(hasDiverged() ? processes.length * UNITS : UNITS);
  expect(allowed.length).toBeGreaterThanOrEqual(UNITS);
  // Units become available again.
  for (const call of callers) await expect.poll(async () => (await call()).status).toBe(404);
});
