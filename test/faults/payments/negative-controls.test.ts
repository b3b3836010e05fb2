import { expect, test } from "vitest";
import { checkPayments } from "../../support/payments/model/check-payments.ts";
import { PAYMENT_FLAWS, type PaymentFlaw } from "../../support/payments/naive/naive-flaws.ts";
import { createNaiveShop } from "../../support/payments/naive/naive-shop.ts";
import { createUnreliableGateway } from "../../support/payments/unreliable-gateway.ts";

/** Determines all commands and faults: the naive shop is in memory, so that its runs depend on nothing else. */
const SEED = 7;

function checkNaive(runs: number, flaw?: PaymentFlaw) {
  let run = 0;
  return checkPayments({
    seed: SEED,
    runs,
    maxCommands: 40,
    openRun: async () => {
      const gateway = createUnreliableGateway();
      run += 1;
      const capture = run % 2 === 0 ? "AT_SHIPMENT" : "AT_ORDER";
      return { gateway, capture, shop: createNaiveShop(gateway, capture, flaw) };
    },
  });
}

test("a naive shop without a flaw behaves as the model", async () => {
  const { failure } = await checkNaive(600);
  expect(failure).toBeUndefined();
});

test.each(PAYMENT_FLAWS)("the model detects that %s", async (flaw) => {
  const { failure } = await checkNaive(500, flaw);
  expect(failure).toBeDefined();
});
