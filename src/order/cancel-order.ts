import { sql } from "kysely";
import type { Catalog } from "../catalog/catalog.ts";
import type { Tx } from "../infra/postgres/postgres.ts";
import { prepare } from "../infra/postgres/statement.ts";
import type { Inventory, StockTransition } from "../inventory/inventory.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { assertEtag, notFound } from "../kernel/errors.ts";
import { ownerScope } from "../kernel/principal.ts";
import type { Tracker } from "../tracker/tracker.ts";
import { type Order, type OrderRow, orderFromRow, SELECT_ORDER } from "./order-row.ts";
import { allowedTransitions, nextState, type OrderState } from "./order-state.ts";

/** Dependencies of cancelling an order. */
export interface CancellationOptions {
  clock: Clock;
  catalog: Catalog;
  inventory: Inventory;
  tracker: Tracker;
  /** Runs in the transaction of a cancellation. */
  onCancelled?: (tx: Tx, order: Order) => Promise<void>;
}

const UPDATE_STATE = prepare<[state: OrderState, now: Date, id: string], object>(
  (state, now, id) => sql`
    update orders set state = ${state}, version = version + 1, updated_at = ${now} where id = ${id}`,
);

/**
 * Cancels an order: returns its units to stock and reverses its purchases.
 * @param etag empty to cancel any version
 * @throws AppError not_found, also for another customer's order; aborted for a stale etag;
 *   failed_precondition when the state forbids it
 */
export async function cancelOrder(
  options: CancellationOptions,
  tx: Tx,
  call: Call,
  id: string,
  etag: string,
): Promise<Order> {
  const { clock, tracker, onCancelled } = options;
  const order = await lockOrder(tx, call, id);
  assertEtag("order", order, etag);
  const state = nextState(id, order.state, "CANCEL");
  // Another replica's clock may be ahead of this one's.
  const now = new Date(Math.max(clock.now().getTime(), order.updateTime.getTime()));
  const transitions = await releaseUnits(options, tx, order, now);
  await tx.query(UPDATE_STATE(state, now, id));
  // In the order of CreateOrder: the totals of promotions before the products.
  if (order.promotionId !== "") await tracker.reverseOrder(tx, call, id, now);
  await applyRelease(options, tx, order, transitions);
  await onCancelled?.(tx, order);
  return {
    ...order,
    state,
    allowedTransitions: allowedTransitions(state),
    etag: String(Number(order.etag) + 1),
    updateTime: now,
  };
}

/** Releases the units of an order. Its row is locked before the stock, as in all transactions. */
async function releaseUnits(
  { inventory }: CancellationOptions,
  tx: Tx,
  { id, items, etag }: Order,
  now: Date,
): Promise<StockTransition[]> {
  const levels = await inventory.lock(
    tx,
    items.map(({ productId }) => productId),
  );
  const sequence = Number(etag) + 1;
  const lines = items.map(({ productId, quantity }) => ({ orderId: id, productId, quantity, sequence }));
  return inventory.moveForOrders(tx, "CANCEL", lines, levels, now);
}

/** Updates what the catalogue derives from the released units. */
async function applyRelease(
  { catalog }: CancellationOptions,
  tx: Tx,
  { items }: Order,
  transitions: readonly StockTransition[],
): Promise<void> {
  const skus = new Map(items.map(({ productId, sku }) => [productId, sku]));
  await catalog.applyStockChanges(
    tx,
    transitions.map((change) => ({ ...change, sku: skus.get(change.productId) ?? "" })),
  );
  catalog.recordSales(
    tx,
    items.map(({ productId, quantity }) => ({ productId, units: -quantity })),
  );
}

async function lockOrder(tx: Tx, call: Call, id: string): Promise<Order> {
  const owner = ownerScope(call.principal) ?? null;
  const locked = await tx.query(sql`
    select from orders where id = ${id} and (${owner}::uuid is null or customer_id = ${owner}) for update`);
  if (locked.length === 0) throw notFound("order", id);
  // A second statement, since the first one's snapshot may be older than its lock.
  const [row] = await tx.query(sql<OrderRow>`${SELECT_ORDER} where id = ${id}`);
  if (row === undefined) throw notFound("order", id);
  return orderFromRow(row);
}
