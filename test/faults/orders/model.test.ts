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
    runs: 24,
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
  expect(Object.keys(outcomes)).toEqual(
    expect.arrayContaining([
      "CreateOrder OK",
      "CreateOrder replayed",
      "CreateOrder OUT_OF_STOCK",
      "MarkOrderPaid OK",
      "ShipOrder OK",
      "DeliverOrder OK",
      "PassExpireTime OK",
      "AdjustStock OK",
      "ImportProducts OK",
    ]),
  );
});
