import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createCategorySlug } from "../../support/import/import-rows.ts";
import { checkModel } from "../../support/orders/model/check-model.ts";
import { FLAWS, type Flaw } from "../../support/orders/naive/flaws.ts";
import { startNaiveModel } from "../../support/orders/naive/naive-model.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { findViolations } from "../../support/stores/invariants.ts";

// Some runs of the model have hundreds of statements, which take long on a busy machine.
vi.setConfig({ testTimeout: 600_000 });

/** Determines the commands of all implementations. Concurrent calls and interrupted commits still end in any order. */
const SEED = 7;

let shop: TestShop;
// Each control leaves violations in its database.
beforeEach(async () => {
  shop = await startShop();
});
afterEach(() => shop.close());

/** Checks a naive implementation in the same way as the service. */
async function checkNaive(runs: number, flaw?: Flaw) {
  const naive = await startNaiveModel(shop, await createCategorySlug(shop), flaw);
  const result = await checkModel({
    runs,
    seed: SEED,
    maxCommands: 40,
    mix: {
      concurrent: true,
      promotions: true,
      quotes: false,
      cutCommit: 10,
      killConnections: 0,
      killReplica: 0,
      killWorker: 4,
    },
    endOnFailure: true,
    openRun: () => naive.openRun(),
    findViolations: () => findViolations(shop.database.url),
  });
  await naive.close();
  return result;
}

test("a naive implementation without a flaw behaves as the model", async () => {
  const { failure } = await checkNaive(20);
  expect(failure).toBeUndefined();
});

test.each(FLAWS)("the model detects that %s", async (flaw) => {
  const { failure } = await checkNaive(1_000, flaw);
  expect(failure).toBeDefined();
});
