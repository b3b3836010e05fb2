import { sql } from "kysely";
import type { Catalog, OrderedProduct } from "../../catalog/catalog.ts";
import type { Customers } from "../../customer/customer.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Inventory, StockLevel } from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import type { AppError } from "../../kernel/errors.ts";
import type { PromotionLimits, Tracker } from "../../tracker/tracker.ts";
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
  promotions: PromotionLimits;
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
const FIND_REQUEST = prepare<[owner: string, requestId: string], { id: string }>(
  (owner, requestId) => sql`select id from orders where owner = ${owner} and request_id = ${requestId}`,
);
const FIND_EARLIER = prepare<[owners: readonly string[], requestIds: readonly string[]], EarlierOrder>(
  (owners, requestIds) => sql`
    ${SELECT_ORDER} join unnest(${owners}::text[], ${requestIds}::uuid[]) as request (owner, request_id)
      on orders.owner = request.owner and orders.request_id = request.request_id`,
);

/** Returns whether an earlier call with the same request_id has placed an order, outside of a transaction. */
export async function isRepeated(
  { db }: { db: Pick<Database, "read"> },
  call: Call,
  { owner, requestId }: Pick<Placement, "owner" | "requestId">,
): Promise<boolean> {
  return (await db.read(call, FIND_REQUEST(owner, requestId))).length > 0;
}

/**
 * Reads what placements depend on, and locks it in the lock order of all transactions: requests, customers,
 * promotions, stock. Each statement begins after the locks of the ones before, so that it reads the commits that these
 * waited for. In a pipeline, statements are sent in the order of the calls below: these call `tx.query` before they
 * await anything.
 */
export async function readPlacements(
  sources: PlacementSources,
  tx: Tx,
  placements: readonly Placement[],
  mode: LockMode,
): Promise<PlacementState> {
  const { tracker, clock } = sources;
  const owners = () => readOwners(sources, tx, placements, mode);
  const stock = () => readStock(sources, tx, placements, mode);
  const limits = () => tracker.readPromotionLimits(tx, placements, mode !== "none");
  if (placements.every(({ promotionId }) => promotionId === "")) {
    // One round trip, since no statement depends on the result of another one.
    const [ofOwners, ofStock] = await tx.pipelined(() => Promise.all([owners(), stock()]));
    return { ...ofOwners, promotions: await limits(), ...ofStock, now: clock.now() };
  }
  const ofOwners = await tx.pipelined(owners);
  const promotions = await limits();
  return { ...ofOwners, promotions, ...(await tx.pipelined(stock)), now: clock.now() };
}

/** Locks the requests and looks them up, then the customers. */
async function readOwners(
  { customers }: PlacementSources,
  tx: Tx,
  placements: readonly Placement[],
  mode: LockMode,
): Promise<Pick<PlacementState, "earlier" | "customerErrors">> {
  const customerIds = distinctIds(placements.map(({ customerId }) => customerId));
  const [earlier, customerErrors] = await Promise.all([
    findEarlier(tx, placements, mode),
    customers.findUnavailable(tx, customerIds, mode !== "none"),
  ]);
  return { earlier, customerErrors };
}

async function findEarlier(
  tx: Tx,
  placements: readonly Placement[],
  mode: LockMode,
): Promise<Map<string, EarlierOrder>> {
  const requests = new Map(placements.map((one) => [requestKey(one.owner, one.requestId), one]));
  const distinct = [...requests.values()];
  const owners = distinct.map(({ owner }) => owner);
  const requestIds = distinct.map(({ requestId }) => requestId);
  // Sent first.
  const locked = mode === "none" ? undefined : tx.query(LOCK_REQUESTS([...requests.keys()]));
  const [rows] = await Promise.all([tx.query(FIND_EARLIER(owners, requestIds)), locked]);
  return new Map(rows.map((row) => [requestKey(row.owner, row.request_id), row]));
}

/** Locks or reads the stock, then the products: their snapshot is newer than the locks. */
async function readStock(
  { inventory, catalog }: PlacementSources,
  tx: Tx,
  placements: readonly Placement[],
  mode: LockMode,
): Promise<Pick<PlacementState, "levels" | "products">> {
  const productIds = distinctIds(placements.flatMap(({ lines }) => lines.map(({ productId }) => productId)));
  const [levels, products] = await Promise.all([
    mode === "all" ? inventory.lock(tx, productIds) : inventory.read(tx, productIds),
    catalog.findOrdered(tx, productIds),
  ]);
  return { levels, products };
}

function distinctIds(ids: readonly string[]): string[] {
  return [...new Set(ids)].filter((id) => id !== "").sort();
}
