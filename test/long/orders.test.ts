import { expect, inject, onTestFinished, test } from "vitest";
import { writeLongResults } from "../support/long/long-results.ts";
import { orderOverlappingBaskets } from "../support/orders/contention.ts";
import { checkModel } from "../support/orders/model/check-model.ts";
import { startServiceModel } from "../support/orders/service-model.ts";
import { startShop } from "../support/shop.ts";
import { findViolations } from "../support/stores/invariants.ts";

const RUNS = 2_000;
const ORDERS = 10_000;

const format = (count: number) => count.toLocaleString("en");

test("in 2,000 runs of random calls and faults, two replicas behave as the model", async () => {
  const service = await startServiceModel(inject("redisUrl"));
  onTestFinished(() => service.close());
  const { failure, outcomes } = await checkModel({
    runs: RUNS,
    maxCommands: 40,
    mix: {
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
  expect(failure).toBeUndefined();
  const changes = ["CancelOrder", "CancelOrderItems", "DeliverOrder", "MarkOrderPaid", "ReturnOrderItems"];
  for (const method of [...changes, "SetOrderExpireTime", "ShipOrder"]) {
    for (const outcome of ["OK", "ORDER_STATE", "STALE_ETAG"]) {
      expect(outcomes[`${method} ${outcome}`], `${method} ${outcome}`).toBeGreaterThan(0);
    }
  }
  const rows = Object.entries(outcomes)
    .sort(([one], [other]) => one.localeCompare(other))
    .map(([name, count]) => [...name.split(" "), format(count)]);
  writeLongResults(`Orders in ${format(RUNS)} runs of the model`, ["method", "outcome", "calls"], rows);
});

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
