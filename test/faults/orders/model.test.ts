import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { checkModel, type ModelCheckOptions } from "../../support/orders/model/check-model.ts";
import { findMissing } from "../../support/orders/model/missing-coverage.ts";
import { addCoverage, type ModelCoverage } from "../../support/orders/model/model-coverage.ts";
import { type ServiceModel, startServiceModel } from "../../support/orders/service-model.ts";
import { findViolations } from "../../support/stores/invariants.ts";

// Hundreds of calls to processes of their own take long on a busy machine.
vi.setConfig({ testTimeout: 600_000 });

/**
 * Seeds of runs that have every outcome together, found by trying. Calls are made one after the other and only workers
 * are killed, so that the outcomes depend on the seeds alone. A change of the commands needs others.
 */
const SEEDS = [1056, 1986, 984, 1374, 1001, 2, 610, 1356, 1385, 279];

let service: ServiceModel;
beforeAll(async () => {
  service = await startServiceModel(inject("redisUrl"));
});
afterAll(() => service.close());

const check = (options: Omit<ModelCheckOptions, "openRun" | "findViolations">) =>
  checkModel({
    ...options,
    openRun: () => service.openRun(),
    findViolations: () => findViolations(service.database.url),
  });

test("two replicas behave as the model in fixed runs that have every outcome, while workers are killed", async () => {
  const coverage: ModelCoverage[] = [];
  for (const seed of SEEDS) {
    const result = await check({
      seed,
      runs: 1,
      maxCommands: 100,
      mix: {
        concurrent: false,
        promotions: true,
        quotes: true,
        cutCommit: 0,
        killConnections: 0,
        killReplica: 0,
        killWorker: 12,
      },
    });
    expect(result.failure).toBeUndefined();
    coverage.push(result.coverage);
  }
  const deaths = ["kill worker before", "kill worker during", "kill worker after"];
  expect(findMissing(addCoverage(coverage), deaths)).toEqual([]);
});

test("two replicas behave as the model in random runs, while connections, commits, replicas and workers fail", async () => {
  const { failure } = await check({
    runs: 12,
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
  });
  expect(failure).toBeUndefined();
});
