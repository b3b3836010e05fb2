import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { checkModel } from "../../support/orders/model/check-model.ts";
import { type ServiceModel, startServiceModel } from "../../support/orders/service-model.ts";
import { findViolations } from "../../support/stores/invariants.ts";

// Hundreds of calls to processes of their own take long on a busy machine.
vi.setConfig({ testTimeout: 600_000 });

let service: ServiceModel;
beforeAll(async () => {
  service = await startServiceModel(inject("redisUrl"));
});
afterAll(() => service.close());

test("two replicas behave as the model in random calls, while connections, commits and replicas fail", async () => {
  const { failure, outcomes } = await checkModel({
    runs: 60,
    maxCommands: 16,
    mix: {
      promotions: true,
      unitChanges: false,
      cutCommit: 6,
      killConnections: 3,
      killReplica: 1,
      killWorker: 2,
    },
    openRun: () => service.openRun(),
    findViolations: () => findViolations(service.database.url),
  });
  expect(failure).toBeUndefined();
  expect(Object.keys(outcomes)).toEqual(
    expect.arrayContaining([
      "CreateOrder OK",
      "CreateOrder replayed",
      "CreateOrder OUT_OF_STOCK",
      "CreateOrder REQUEST_ID_REUSED",
      "CreateOrder CUSTOMER_NOT_FOUND",
      "CancelOrder OK",
      "MarkOrderPaid OK",
      "MarkOrderPaid AMOUNT_NOT_DUE",
      "MarkOrderPaid STALE_ETAG",
      "MarkOrderPaid ORDER_STATE",
      "AdjustStock OK",
      "AdjustStock STOCK_CHANGED",
      "ImportProducts OK",
    ]),
  );
});
