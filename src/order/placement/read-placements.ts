import { sql } from "kysely";
import type { Catalog, OrderedProduct } from "../../catalog/catalog.ts";
import type { Customers } from "../../customer/customer.ts";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Inventory, StockLevel } from "../../inventory/inventory.ts";
import type { Clock } from "../../kernel/clock.ts";
import type { AppError } from "../../kernel/errors.ts";
import type { OrderQuota, Tracker } from "../../tracker/tracker.ts";
import { type OrderRow, SELECT_ORDER } from "../order-row.ts";
import { type Placement, requestKey } from "./placement.ts";

/** The features that a placement reads and writes. */
export interface PlacementSources {
  clock: Clock;
  catalog: Catalog;
  customers: Customers;
  inventory: Inventory;
  tracker: Tracker;
}

/** An order that an earlier call has placed, with the fingerprint of its request. */
export interface EarlierOrder extends OrderRow {
  owner: string;
  request_id: string;
  /** Null for an order without a known request, such as a seeded one. */
  fingerprint: Buffer | null;
}

/** The rows that placements depend on. */
export interface PlacementState {
  /** Time after all locks. */
  now: Date;
  /** The orders of earlier calls by the key of their request. */
  earlier: ReadonlyMap<string, EarlierOrder>;
  /** The errors of customers who cannot order. */
  customerErrors: ReadonlyMap<string, AppError>;
  promotions: OrderQuota;
  levels: ReadonlyMap<string, StockLevel>;
  products: ReadonlyMap<string, OrderedProduct>;
}

/** Which rows stay locked until the transaction ends: all that the orders depend on, all but the stock, or none. */
export type LockMode = "all" | "all but stock" | "none";

// The subquery sorts before the function locks, so that two transactions with the same keys cannot deadlock.
const LOCK_REQUESTS = prepare<[keys: readonly string[]], object>(
  (keys) => sql`
    select pg_advisory_xact_lock(hash) from (
      select distinct hashtextextended(key, 0) as hash from unnest(${keys}::text[]) as key order by 1
    ) as request`,
);
const FIND_EARLIER = prepare<[owners: readonly string[], requestIds: readonly string[]], EarlierOrder>(
  (owners, requestIds) => sql`
    ${SELECT_ORDER} join unnest(${owners}::text[], ${requestIds}::uuid[]) as request (owner, request_id)
      on orders.owner = request.owner and orders.request_id = request.request_id`,
);

/**
 * Reads what placements depend on, and locks it in the lock order of all transactions: requests, customers,
 * promotions, stock. Each statement begins after the locks of the ones before, so that it reads what they wait for.
 */
export async function readPlacements(
  { clock, catalog, customers, inventory, tracker }: PlacementSources,
  tx: Tx,
  placements: readonly Placement[],
  mode: LockMode,
): Promise<PlacementState> {
  const requests = new Map(placements.map((one) => [requestKey(one.owner, one.requestId), one]));
  if (mode !== "none") await tx.query(LOCK_REQUESTS([...requests.keys()]));
  const distinct = [...requests.values()];
  const earlier = await tx.query(
    FIND_EARLIER(
      distinct.map(({ owner }) => owner),
      distinct.map(({ requestId }) => requestId),
    ),
  );
  const customerIds = distinctIds(placements.map(({ customerId }) => customerId));
  const customerErrors = await customers.findUnavailable(tx, customerIds, mode !== "none");
  const promotions = await tracker.readOrderQuota(tx, placements, mode !== "none");
  const productIds = distinctIds(placements.flatMap(({ lines }) => lines.map(({ productId }) => productId)));
  const levels = await (mode === "all" ? inventory.lock(tx, productIds) : inventory.read(tx, productIds));
  // A statement of its own: its snapshot is newer than the locks.
  const products = await catalog.findOrdered(tx, productIds);
  return {
    now: clock.now(),
    earlier: new Map(earlier.map((row) => [requestKey(row.owner, row.request_id), row])),
    customerErrors,
    promotions,
    levels,
    products,
  };
}

function distinctIds(ids: readonly string[]): string[] {
  return [...new Set(ids)].filter((id) => id !== "").sort();
}
