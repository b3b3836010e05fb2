import type { Outcome } from "../../infra/batch-writer/batch-writer.ts";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { availableUnits, type OrderLine, type StockTransition } from "../../inventory/inventory.ts";
import { MINUTE_MS } from "../../kernel/durations.ts";
import { type AcceptedOrder, type Decisions, decidePlacements } from "./decide.ts";
import type { PlacedOrder, Placement } from "./placement.ts";
import type { PlacementSources, PlacementState } from "./read-placements.ts";
import { writeOrders } from "./write-orders.ts";

/** Moves the reserved units of new orders, and records that in the ledger. */
export type MoveStock = (
  tx: Tx,
  lines: readonly OrderLine[],
  state: PlacementState,
) => Promise<StockTransition[]>;

/** Time after which the outbox has invalidated what an order changed, even if its process died after the commit. */
const INVALIDATION_MS = MINUTE_MS;

/**
 * Decides on placements in their order, and writes the accepted ones with everything that belongs to them.
 * @returns the outcomes in the order of the placements
 */
export async function writePlacements(
  options: PlacementSources,
  tx: Tx,
  placements: readonly Placement[],
  state: PlacementState,
  moveStock: MoveStock,
): Promise<Outcome<PlacedOrder>[]> {
  const { catalog } = options;
  const decisions = decidePlacements(placements, state);
  const { accepted, outcomes } = decisions;
  repeatInvalidations(options, tx, decisions, state);
  if (accepted.length === 0) return outcomes;
  const lines = accepted.flatMap(({ order }) =>
    order.items.map(({ productId, quantity }) => ({ orderId: order.id, productId, quantity, sequence: 1 })),
  );
  // The ledger refers to the orders, so they are written first.
  const [expireTimes, transitions] = await tx.pipelined(() =>
    Promise.all([writeOrders(tx, accepted, state.now), moveStock(tx, lines, state)]),
  );
  await takePurchases(options, tx, accepted, state.now);
  await catalog.applyStockChanges(
    tx,
    transitions.map((change) => ({ ...change, sku: state.products.get(change.productId)?.sku ?? "" })),
  );
  catalog.recordSales(
    tx,
    transitions.map(({ productId, before, after }) => ({
      productId,
      units: after.reserved - before.reserved,
    })),
  );
  return outcomes.map((outcome) => withExpireTime(outcome, expireTimes));
}

/** Returns an outcome with the expire time that was stored. An order that needs no payment has none. */
function withExpireTime(
  outcome: Outcome<PlacedOrder>,
  expireTimes: ReadonlyMap<string, Date | undefined>,
): Outcome<PlacedOrder> {
  if ("error" in outcome || outcome.result.order.expireTime === undefined) return outcome;
  const { order } = outcome.result;
  if (!expireTimes.has(order.id)) return outcome;
  return { result: { ...outcome.result, order: { ...order, expireTime: expireTimes.get(order.id) } } };
}

/** Takes the limits of the promotions of orders. Those that there is nothing to pay for are recorded as sales. */
async function takePurchases(
  { tracker }: PlacementSources,
  tx: Tx,
  accepted: readonly AcceptedOrder[],
  now: Date,
): Promise<void> {
  const promoted = accepted
    .filter(({ order }) => order.promotionId !== "")
    .map(({ order: { id: orderId, promotionId, customerId, items, salesRecorded }, placement }) => ({
      orderId,
      promotionId,
      customerId,
      clientAddress: placement.clientAddress,
      salesRecorded,
      purchases: items.length,
      items: items.map(({ productId, totalPrice }) => ({ productId, amount: totalPrice })),
    }));
  const held = promoted.filter(({ salesRecorded }) => !salesRecorded);
  if (held.length > 0) await tracker.holdOrders(tx, held);
  const recorded = promoted.filter(({ salesRecorded }) => salesRecorded);
  if (recorded.length > 0) await tracker.recordOrders(tx, recorded, now);
}

/**
 * Repeats the invalidation of products that recent orders may have sold out: their process may have died between the
 * commit and the invalidation, and a repeated call must not be acknowledged before it.
 */
function repeatInvalidations(
  { catalog }: PlacementSources,
  tx: Tx,
  { repeated }: Decisions,
  { now, levels }: PlacementState,
): void {
  const soldOut = repeated
    .filter((row) => now.getTime() - new Date(row.created_at).getTime() < INVALIDATION_MS)
    .flatMap(({ items }) => items)
    .filter(({ product_id: id }) => {
      const level = levels.get(id);
      return level !== undefined && availableUnits(level) === 0n;
    });
  catalog.invalidateAvailability(
    tx,
    soldOut.map(({ product_id: id, sku }) => ({ id, sku })),
  );
}
