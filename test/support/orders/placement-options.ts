import type { StockStrategyName } from "../../../src/order/order.ts";
import { silentLog } from "../log.ts";

const stockStrategy: StockStrategyName = "combined";

/** The options of placing orders in tests that count outcomes, not times. */
export const placementOptions = {
  stockStrategy,
  reservationSeconds: 1_800,
  statementTimeoutMs: 30_000,
  waitMs: 30_000,
  log: silentLog,
};
