import type { StockStrategyName } from "../../../src/order/order.ts";
import { silentLog } from "../log.ts";

const stockStrategy: StockStrategyName = "combined";

/** The options of placing orders in tests that count outcomes, not times. */
export const placementOptions = { stockStrategy, statementTimeoutMs: 30_000, waitMs: 30_000, log: silentLog };
