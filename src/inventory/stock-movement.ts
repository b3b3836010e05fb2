import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import { type Parameter, prepare } from "../infra/postgres/statement.ts";
import { assertBelowMaximum } from "./adjustment-rules.ts";
import type { StockLevel } from "./stock-level.ts";
import type { StockTransition } from "./stock-transition.ts";

/** A number of units of one product. */
export interface StockLine {
  productId: string;
  quantity: bigint;
}

/** Units of one product in an order, all or some of them, that one event of the order moves. */
export interface OrderLine extends StockLine {
  orderId: string;
  /** Sequence of the event among those of the order; 1 for its creation. */
  sequence: number;
}

/** The events of orders that move stock. */
export type OrderMovement = "ORDER" | "CANCEL" | "EXPIRE" | "SHIP" | "ORDER_RETURN";

/** What a unit of a movement adds to the units on hand and to the reserved ones. CHECK constraints hold it too. */
interface Effect {
  onHand: -1n | 0n | 1n;
  reserved: -1n | 0n | 1n;
}

const EFFECTS: Record<OrderMovement, Effect> = {
  ORDER: { onHand: 0n, reserved: 1n },
  CANCEL: { onHand: 0n, reserved: -1n },
  EXPIRE: { onHand: 0n, reserved: -1n },
  SHIP: { onHand: -1n, reserved: -1n },
  ORDER_RETURN: { onHand: 1n, reserved: 0n },
};

type MovementValues = [
  orderIds: readonly string[],
  productIds: readonly string[],
  units: readonly string[],
  sequences: readonly number[],
  reason: OrderMovement,
  onHandEffect: number,
  reservedEffect: number,
  now: Date,
];

const MOVE = prepare<MovementValues, { product_id: string }>(
  (orderIds, productIds, units, sequences, reason, onHand, reserved, now) =>
    moveUnits([orderIds, productIds, units, sequences, reason, onHand, reserved, now], {
      locks: sql``,
      condition: sql`true`,
    }),
);
// Locks in id order before it updates, since an update locks in any order. A row that another transaction has changed
// meanwhile no longer has the version.
const MOVE_IF_CURRENT = prepare<
  [...MovementValues, ids: readonly string[], versions: readonly string[]],
  { product_id: string }
>((orderIds, productIds, units, sequences, reason, onHand, reserved, now, ids, versions) =>
  moveUnits([orderIds, productIds, units, sequences, reason, onHand, reserved, now], {
    locks: sql`locked as materialized (
        select product_id from inventory
        where (product_id, version) in (select * from unnest(${ids}::uuid[], ${versions}::bigint[]))
        order by product_id for no key update
      ),`,
    condition: sql`moved.product_id in (select product_id from locked)`,
  }),
);

/** Returns the statement that records all lines, and changes the stock of the products that meet the condition. */
function moveUnits(
  [orderIds, productIds, units, sequences, reason, onHand, reserved, now]: readonly Parameter[],
  { locks, condition }: { locks: RawBuilder<unknown>; condition: RawBuilder<unknown> },
): RawBuilder<{ product_id: string }> {
  return sql<{ product_id: string }>`
    with line as (
      select * from unnest(${orderIds}::uuid[], ${productIds}::uuid[], ${units}::bigint[], ${sequences}::int[])
        as line (order_id, product_id, units, sequence)
    ), ${locks} ledger as (
      insert into stock_movement (
        product_id, on_hand_delta, reserved_delta, reason, order_id, order_sequence, effective_at, created_at
      )
      select product_id, units * ${onHand}::int, units * ${reserved}::int, ${reason}, order_id, sequence, at, at
      from line, (select ${now}::timestamptz as at) as recorded
    )
    update inventory
    set on_hand = on_hand + moved.units * ${onHand}::int, reserved = reserved + moved.units * ${reserved}::int,
      version = version + 1
    from (select product_id, sum(units)::bigint as units from line group by product_id) as moved
    where inventory.product_id = moved.product_id and ${condition}
    returning inventory.product_id`;
}

/**
 * Moves the units of orders, and records that in the ledger: an order reserves them, a cancellation or expiry releases
 * them, a shipment removes them, a return adds them. The stock must be locked. A second movement of a product by the
 * same event of an order violates the ledger's unique key.
 * @param levels stock of the products before the change
 * @param now time after the stock was locked
 * @returns the changes of the stock, one for each product
 * @throws AppError failed_precondition when a return would exceed the maximum stock
 */
export async function moveForOrders(
  tx: Tx,
  reason: OrderMovement,
  lines: readonly OrderLine[],
  levels: ReadonlyMap<string, StockLevel>,
  now: Date,
): Promise<StockTransition[]> {
  const transitions = transitionsOf(reason, lines, levels);
  if (lines.length > 0) await tx.query(MOVE(...movementValues(reason, lines, now)));
  return transitions;
}

/**
 * Moves the units of orders like `moveForOrders`, of stock that was read without a lock.
 * @returns the changes of the stock; undefined, after which the transaction must be rolled back, if a product no longer
 *   has the version that was read
 */
export async function moveForOrdersIfCurrent(
  tx: Tx,
  reason: OrderMovement,
  lines: readonly OrderLine[],
  levels: ReadonlyMap<string, StockLevel>,
  now: Date,
): Promise<StockTransition[] | undefined> {
  if (lines.length === 0) return [];
  const transitions = transitionsOf(reason, lines, levels);
  const ids = [...new Set(lines.map(({ productId }) => productId))].sort();
  const versions = ids.map((id) => String(levels.get(id)?.version ?? 0));
  const changed = await tx.query(MOVE_IF_CURRENT(...movementValues(reason, lines, now), ids, versions));
  return changed.length === ids.length ? transitions : undefined;
}

function transitionsOf(
  reason: OrderMovement,
  lines: readonly OrderLine[],
  levels: ReadonlyMap<string, StockLevel>,
): StockTransition[] {
  const effect = EFFECTS[reason];
  const units = new Map<string, bigint>();
  for (const { productId, quantity } of lines) {
    units.set(productId, (units.get(productId) ?? 0n) + quantity);
  }
  return [...units].flatMap(([productId, quantity]) => {
    const before = levels.get(productId);
    if (before === undefined) return [];
    const onHand = before.onHand + effect.onHand * quantity;
    if (onHand > before.onHand) assertBelowMaximum(productId, onHand, before.reserved);
    // One statement moves the units of all orders, so that the version increases once.
    const reserved = before.reserved + effect.reserved * quantity;
    return [{ productId, before, after: { onHand, reserved, version: before.version + 1n } }];
  });
}

function movementValues(reason: OrderMovement, lines: readonly OrderLine[], now: Date): MovementValues {
  const { onHand, reserved } = EFFECTS[reason];
  return [
    lines.map(({ orderId }) => orderId),
    lines.map(({ productId }) => productId),
    lines.map(({ quantity }) => quantity.toString()),
    lines.map(({ sequence }) => sequence),
    reason,
    Number(onHand),
    Number(reserved),
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
