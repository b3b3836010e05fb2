import { createOrderTokens } from "../../../src/order/guest/order-token.ts";
import type { PaymentHooks, QuoteProvider, StockStrategyName } from "../../../src/order/order.ts";
import { silentLog } from "../log.ts";

const stockStrategy: StockStrategyName = "combined";

/** Quotes without tax and shipping options. */
const quotes: QuoteProvider = {
  callsService: false,
  prepare:
    async () =>
    ({ lines }) => ({
      lineTaxes: lines.map(() => 0n),
      isTaxIncluded: false,
      shippingOptions: [],
      needsShippingOption: false,
    }),
};

/** Orders that are paid by hand only: there is nothing to request of a gateway. */
const payments: PaymentHooks = {
  assertCapturable: async () => {},
  requestCapture: async () => {},
  releaseExcess: async (_tx, _call, orders) => [...orders],
};

/** Options of orders in tests that count outcomes, not times, and watch no orders. */
export const placementOptions = {
  stockStrategy,
  reservationSeconds: 1_800,
  quotes,
  statementTimeoutMs: 30_000,
  waitMs: 30_000,
  log: silentLog,
  orderTokens: createOrderTokens([{ id: "0", validFrom: new Date(0), secret: Buffer.alloc(32, "k") }]),
  payments,
  tail: { subscribe: () => () => {} },
};
