import { connect } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { type ServiceProcess, startProcess } from "../support/service-process.ts";

const UNITS = 100;
const CALLS = 10_000;
const CALLS_AT_ONCE = 16;

let database: TestDatabase;
let redis: RedisServer;
let processes: ServiceProcess[];
let callers: ((forwardedFor?: string) => Promise<Answer>)[];
const closing: (() => void)[] = [];

/** A call that was answered, by this process's clock. */
interface Answer {
  sentMs: number;
  answeredMs: number;
  status: number;
  remaining: number;
}

beforeAll(async () => {
  [database, redis] = await Promise.all([createTestDatabase(), startRedisServer()]);
  processes = [0, 1].map(() =>
    startProcess({
      ...{ PORT: "0", DATABASE_URL: database.url, REDIS_URL: redis.url, SEED_DEMO: "off", WORKERS: "0" },
      ...{ LIMITS: "on", ACCESS: "off", LIMIT_READ: `${UNITS}/1` },
    }),
  );
  const urls = await Promise.all(processes.map(({ listening }) => listening));
  callers = urls.map(openCaller);
});

afterAll(async () => {
  for (const close of closing) close();
  for (const { child } of processes) child.kill("SIGTERM");
  await Promise.all(processes.map(({ exited }) => exited));
  await Promise.all([redis.stop(), database.drop()]);
});

/** Asks by a GET over HTTP/2 for a product that there is not, which costs 1. */
function openCaller(url: string): () => Promise<Answer> {
  const session = connect(url);
  session.on("error", () => {});
  closing.push(() => session.destroy());
  const query = `encoding=json&message=${encodeURIComponent(JSON.stringify({ sku: "NONE" }))}`;
  const path = `/cartwright.catalog.v1.CatalogService/GetProduct?${query}`;
  return () =>
    new Promise((resolve, reject) => {
      const sentMs = performance.now();
      const stream = session.request({ ":path": path });
      stream.on("response", (headers) => {
        const answeredMs = performance.now();
        const remaining = Number(headers["ratelimit-remaining"]);
        stream.on("end", () =>
          resolve({ sentMs, answeredMs, status: Number(headers[":status"]), remaining }),
        );
        stream.resume();
      });
      stream.on("error", reject);
    });
}

/** Both processes ask Redis, since each sees what the other has spent. */
async function untilShared(): Promise<void> {
  await expect
    .poll(async () => {
      const seen: number[] = [];
      for (const call of callers) seen.push((await call()).remaining);
      return seen;
    })
    .toSatisfy(([first = 0, second = 0]: number[]) => second < first);
  await sleep(1_100);
}

async function callThemAll(): Promise<Answer[]> {
  const answers: Answer[] = [];
  let left = CALLS;
  const worker = async (index: number) => {
    while (left > 0) {
      left -= 1;
      const answer = await callers[(left + index) % callers.length]?.();
      if (answer !== undefined) answers.push(answer);
    }
  };
  await Promise.all(Array.from({ length: CALLS_AT_ONCE }, (_, index) => worker(index)));
  return answers;
}

/**
 * The most calls that certainly passed within one second: whose first was sent and whose last was answered within
 * it, by one clock that does not jump. It was decided upon each of them in between, so that if a second had too
 * many by the clock of Redis, and they were answered at once, it shows here; and what shows here is no mistake.
 */
function worstSecond(passed: readonly Answer[]): number {
  const bySent = passed.toSorted((one, other) => one.sentMs - other.sentMs);
  return bySent.reduce((worst, { sentMs }, index) => {
    const within = bySent.slice(index).filter(({ answeredMs }) => answeredMs < sentMs + 1_000);
    return Math.max(worst, within.length);
  }, 0);
}

/** How often a process did not wait for Redis, as on a machine that stands still for a moment. */
const disturbances = () =>
  processes.flatMap(({ lines }) =>
    lines.filter(({ msg }) => String(msg).startsWith("limits are kept by this")),
  ).length;

test("10,000 calls at two processes: no second has more than the budget, and it is used", {
  timeout: 120_000,
}, async () => {
  for (;;) {
    await untilShared();
    const before = disturbances();
    const startMs = performance.now();
    const answers = await callThemAll();
    const elapsedMs = performance.now() - startMs;
    await sleep(100);
    if (disturbances() === before) {
      expectWithinBudget(answers, elapsedMs);
      return;
    }
    // Redis did not answer in time, and a process went on by itself: it has no more than a budget of its own.
    expect(worstSecond(answers.filter(({ status }) => status === 404))).toBeLessThanOrEqual(2 * UNITS);
  }
});

function expectWithinBudget(answers: readonly Answer[], elapsedMs: number): void {
  const passed = answers.filter(({ status }) => status === 404);
  expect(answers.filter(({ status }) => status !== 404 && status !== 429)).toEqual([]);
  expect(answers).toHaveLength(CALLS);
  const worst = worstSecond(passed);
  expect(worst).toBeLessThanOrEqual(UNITS);
  expect(worst).toBeGreaterThanOrEqual(0.9 * UNITS);
  // A window is given back late by a grain at most, and found out about within a few milliseconds.
  const windows = 1 + elapsedMs / (1_000 * (1 + 1 / 64) + 50);
  expect(passed.length).toBeGreaterThanOrEqual(0.9 * UNITS * Math.floor(windows));
}
