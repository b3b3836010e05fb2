import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import { type Parameter, prepare } from "../infra/postgres/statement.ts";
import { recountTime } from "./recount.ts";
import type { StockLevel } from "./stock-level.ts";

/** A number of units of one product. */
export interface StockLine {
  productId: string;
  quantity: bigint;
}

/** A number of units of one product in an order. */
export interface OrderLine extends StockLine {
  orderId: string;
}

/** Whether orders reserve units, or cancelled orders release them. */
export type OrderMovement = "ORDER" | "CANCEL";

type MovementValues = [
  orderIds: readonly string[],
  productIds: readonly string[],
  units: readonly string[],
  reason: OrderMovement,
  now: Date,
];

const MOVE_RESERVED = prepare<MovementValues, { product_id: string }>(
  (orderIds, productIds, units, reason, now) =>
    moveReservedUnits([orderIds, productIds, units, reason, now], { locks: sql``, condition: sql`true` }),
);
// Locks in id order before it updates, since an update locks in any order. A row that another transaction has changed
// meanwhile no longer has the version.
const MOVE_RESERVED_IF_CURRENT = prepare<
  [...MovementValues, ids: readonly string[], versions: readonly string[]],
  { product_id: string }
>((orderIds, productIds, units, reason, now, ids, versions) =>
  moveReservedUnits([orderIds, productIds, units, reason, now], {
    locks: sql`locked as materialized (
        select product_id from inventory
        where (product_id, version) in (select * from unnest(${ids}::uuid[], ${versions}::bigint[]))
        order by product_id for no key update
      ),`,
    condition: sql`moved.product_id in (select product_id from locked)`,
  }),
);

/** Returns the statement that records all lines, and changes the stock of the products that meet the condition. */
function moveReservedUnits(
  [orderIds, productIds, units, reason, now]: readonly Parameter[],
  { locks, condition }: { locks: RawBuilder<unknown>; condition: RawBuilder<unknown> },
): RawBuilder<{ product_id: string }> {
  return sql<{ product_id: string }>`
    with line as (
      select * from unnest(${orderIds}::uuid[], ${productIds}::uuid[], ${units}::bigint[])
        as line (order_id, product_id, units)
    ), ${locks} ledger as (
      insert into stock_movement (product_id, reserved_delta, reason, order_id, effective_at, created_at)
      select product_id, units, ${reason}, order_id, at, at from line, (select ${now}::timestamptz as at) as recorded
    )
    update inventory set reserved = reserved + moved.units, version = version + 1
    from (select product_id, sum(units)::bigint as units from line group by product_id) as moved
    where inventory.product_id = moved.product_id and ${condition}
    returning inventory.product_id`;
}

/**
 * Reserves or releases the units of orders, and records that in the ledger. The stock must be locked. A second movement
 * of an order for the same reason violates the ledger's unique key.
 * @param now time after the stock was locked
 */
export async function moveReserved(
  tx: Tx,
  reason: OrderMovement,
  lines: readonly OrderLine[],
  now: Date,
): Promise<void> {
  if (lines.length > 0) await tx.query(MOVE_RESERVED(...movementValues(reason, lines, now)));
}

/**
 * Reserves or releases the units of orders like `moveReserved`, of stock that was read without a lock.
 * @returns whether all products still have the version that was read; otherwise the transaction must be rolled back
 */
export async function moveReservedIfCurrent(
  tx: Tx,
  reason: OrderMovement,
  lines: readonly OrderLine[],
  levels: ReadonlyMap<string, StockLevel>,
  now: Date,
): Promise<boolean> {
  if (lines.length === 0) return true;
  const ids = [...new Set(lines.map(({ productId }) => productId))].sort();
  const versions = ids.map((id) => String(levels.get(id)?.version ?? 0));
  const changed = await tx.query(
    MOVE_RESERVED_IF_CURRENT(...movementValues(reason, lines, now), ids, versions),
  );
  return changed.length === ids.length;
}

function movementValues(reason: OrderMovement, lines: readonly OrderLine[], now: Date): MovementValues {
  const sign = reason === "ORDER" ? 1n : -1n;
  return [
    lines.map(({ orderId }) => orderId),
    lines.map(({ productId }) => productId),
    lines.map(({ quantity }) => (sign * quantity).toString()),
    reason,
    now,
  ];
}

/** Creates the stock of new products, and records it in the ledger. */
export async function createStock(tx: Tx, lines: readonly StockLine[], now: Date): Promise<void> {
  if (lines.length === 0) return;
  await tx.query(sql`
    with line as (select * from ${unnestLines(lines)}), stock as (
      insert into inventory (product_id, on_hand) select product_id, quantity from line
    )
    insert into stock_movement (product_id, on_hand_delta, reason, effective_at, created_at)
    select product_id, quantity, 'INITIAL', ${now}, ${now} from line where quantity > 0`);
}

/**
 * Sets the units on hand of products to counted ones, and records the differences in the ledger. The stock must be
 * locked, and the count must differ from it.
 * @param changes the differences, negative for missing units
 * @param now time after the stock was locked
 */
export async function recordRecounts(tx: Tx, changes: readonly StockLine[], now: Date): Promise<void> {
  if (changes.length === 0) return;
  // With "offset 0" the time is computed once for each row, not once for each column.
  await tx.query(sql`
    with line as (select * from ${unnestLines(changes)}), stock as (
      update inventory set on_hand = on_hand + quantity, version = version + 1
      from line where inventory.product_id = line.product_id
    )
    insert into stock_movement (product_id, on_hand_delta, reason, effective_at, created_at)
    select product_id, quantity, 'RECOUNT', time, time
    from line, lateral (select ${recountTime(sql`line.product_id`, now)} as time offset 0) as recorded`);
}

function unnestLines(lines: readonly StockLine[]): RawBuilder<unknown> {
  const productIds = lines.map((line) => line.productId);
  const quantities = lines.map((line) => line.quantity.toString());
  return sql`unnest(${productIds}::uuid[], ${quantities}::bigint[]) as line (product_id, quantity)`;
}
