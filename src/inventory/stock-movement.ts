import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import { type Parameter, prepare } from "../infra/postgres/statement.ts";
import type { StockLevel } from "./stock-level.ts";
import type { StockTransition } from "./stock-transition.ts";

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
 * @param levels stock of the products before the change
 * @param now time after the stock was locked
 * @returns the changes of the stock, one for each product
 */
export async function moveReserved(
  tx: Tx,
  reason: OrderMovement,
  lines: readonly OrderLine[],
  levels: ReadonlyMap<string, StockLevel>,
  now: Date,
): Promise<StockTransition[]> {
  if (lines.length > 0) await tx.query(MOVE_RESERVED(...movementValues(reason, lines, now)));
  return transitionsOf(reason, lines, levels);
}

/**
 * Reserves or releases the units of orders like `moveReserved`, of stock that was read without a lock.
 * @returns the changes of the stock; undefined, after which the transaction must be rolled back, if a product no longer
 *   has the version that was read
 */
export async function moveReservedIfCurrent(
  tx: Tx,
  reason: OrderMovement,
  lines: readonly OrderLine[],
  levels: ReadonlyMap<string, StockLevel>,
  now: Date,
): Promise<StockTransition[] | undefined> {
  if (lines.length === 0) return [];
  const ids = [...new Set(lines.map(({ productId }) => productId))].sort();
  const versions = ids.map((id) => String(levels.get(id)?.version ?? 0));
  const changed = await tx.query(
    MOVE_RESERVED_IF_CURRENT(...movementValues(reason, lines, now), ids, versions),
  );
  return changed.length === ids.length ? transitionsOf(reason, lines, levels) : undefined;
}

function transitionsOf(
  reason: OrderMovement,
  lines: readonly OrderLine[],
  levels: ReadonlyMap<string, StockLevel>,
): StockTransition[] {
  const units = new Map<string, bigint>();
  for (const { productId, quantity } of lines) {
    units.set(productId, (units.get(productId) ?? 0n) + signOf(reason) * quantity);
  }
  return [...units].flatMap(([productId, delta]) => {
    const before = levels.get(productId);
    if (before === undefined) return [];
    // One statement moves the units of all orders, so that the version increases once.
    const after = { ...before, reserved: before.reserved + delta, version: before.version + 1n };
    return [{ productId, before, after }];
  });
}

function signOf(reason: OrderMovement): bigint {
  return reason === "ORDER" ? 1n : -1n;
}

function movementValues(reason: OrderMovement, lines: readonly OrderLine[], now: Date): MovementValues {
  const sign = signOf(reason);
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

function unnestLines(lines: readonly StockLine[]): RawBuilder<unknown> {
  const productIds = lines.map((line) => line.productId);
  const quantities = lines.map((line) => line.quantity.toString());
  return sql`unnest(${productIds}::uuid[], ${quantities}::bigint[]) as line (product_id, quantity)`;
}
