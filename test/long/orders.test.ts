import { expect, inject, onTestFinished, test } from "vitest";
import { writeLongResults } from "../support/long/long-results.ts";
import { orderOverlappingBaskets } from "../support/orders/contention.ts";
import { checkModel } from "../support/orders/model/check-model.ts";
import { findMissing } from "../support/orders/model/missing-coverage.ts";
import { addCoverage, type ModelCoverage } from "../support/orders/model/model-coverage.ts";
import { startServiceModel } from "../support/orders/service-model.ts";
import { startShop } from "../support/shop.ts";
import { findViolations } from "../support/stores/invariants.ts";

/** Pairs of replicas that are checked at the same time, each with a database of its own: calls wait most of the time. */
const SHOPS = 2;
const RUNS = 2_000;
/** Below the time limit of a test. On a busy machine there are fewer runs, as the table shows. */
const TIME_LIMIT_MS = 50 * 60_000;
const ORDERS = 10_000;

const format = (count: number) => count.toLocaleString("en");

test("in up to 2,000 runs of random calls and faults, two replicas behave as the model", async () => {
  const results = await Promise.all(Array.from({ length: SHOPS }, () => checkShop(RUNS / SHOPS)));
  expect(results.flatMap(({ failure }) => failure ?? [])).toEqual([]);
  const coverage = addCoverage(results.map((result) => result.coverage));
  const moments = ["before", "during", "after"];
  const atCommit = ["cut commit", "kill replica", "kill worker"].flatMap((kind) =>
    moments.map((moment) => `${kind} ${moment}`),
  );
  expect(findMissing(coverage, [...atCommit, "kill replica immediately", "kill connections"])).toEqual([]);
  writeLongResults("Orders in random runs of the model", ["what", "outcome", "times"], rowsOf(coverage));
});

async function checkShop(runs: number) {
  const service = await startServiceModel(inject("redisUrl"));
  onTestFinished(() => service.close());
  return checkModel({
    runs,
    timeLimitMs: TIME_LIMIT_MS,
    maxCommands: 40,
    mix: {
      concurrent: true,
      promotions: true,
      quotes: true,
      cutCommit: 6,
      killConnections: 3,
      killReplica: 1,
      killWorker: 2,
    },
    openRun: () => service.openRun(),
    findViolations: () => findViolations(service.database.url),
  });
}

function rowsOf({ runs, outcomes, events, faults }: ModelCoverage): string[][] {
  const rows = (counts: Record<string, number>, cellsOf: (name: string) => string[]) =>
    Object.entries(counts)
      .sort(([one], [other]) => one.localeCompare(other))
      .map(([name, count]) => [...cellsOf(name), format(count)]);
  return [
    ["runs", "", format(runs)],
    ...rows(outcomes, (name) => name.split(" ")),
    ...rows(events, (name) => ["event of an order", name]),
    ...rows(faults, (name) => ["fault", name]),
  ];
}

test("200 clients place 10,000 orders of overlapping products in random order without a deadlock", async () => {
  const shop = await startShop();
  onTestFinished(() => shop.close());
  const result = await orderOverlappingBaskets(shop, ORDERS);
  expect(result.deadlocks).toBe(0);
  const columns = ["orders", "cancellations", "adjustments", "imports", "deadlocks"] as const;
  writeLongResults(`${format(ORDERS)} orders of overlapping products by 200 clients`, columns, [
    columns.map((column) => format(result[column])),
  ]);
});
