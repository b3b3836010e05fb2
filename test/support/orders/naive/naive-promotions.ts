import { randomUUID } from "node:crypto";
import type { Fixture } from "../model/fixture.ts";
import { type ModelLine, unitsLeft } from "../model/model-order.ts";
import { type ItemUnits, PURCHASE_LIMIT, PURCHASE_LIMIT_PER_USER } from "../model/operation.ts";
import type { StoredOrder } from "../model/shop-run.ts";
import type { NaiveStatements } from "./naive-statements.ts";
import { Rejection } from "./rejection.ts";

/** Takes the purchases of a new order from the limits of the promotion. */
export async function holdPurchases(
  statements: NaiveStatements,
  { promotionId }: Fixture,
  order: { id: string; customerId: string; purchases: number },
): Promise<void> {
  const { id, customerId, purchases } = order;
  if (customerId === "") throw new Rejection("FailedPrecondition", "CUSTOMER_REQUIRED");
  await statements.query("select from promotion where id = $1 for update", [promotionId]);
  const [counted] = await statements.query<{ total: number; own: number }>(
    `select coalesce(sum(purchases), 0)::int as total, coalesce(sum(purchases) filter (where user_id = $2), 0)::int as own
     from (
       select user_id, purchases from promotion_hold where promotion_id = $1
       union all
       select user_id, case kind when 'SALE' then 1 else -1 end from purchase where promotion_id = $1 and counts
     ) as counted`,
    [promotionId, customerId],
  );
  const isExceeded =
    Number(counted?.total) + purchases > PURCHASE_LIMIT ||
    Number(counted?.own) + purchases > PURCHASE_LIMIT_PER_USER;
  if (isExceeded) throw new Rejection("FailedPrecondition", "PURCHASE_LIMIT_REACHED");
  await statements.query(
    "insert into promotion_hold (order_id, promotion_id, user_id, purchases) values ($1, $2, $3, $4)",
    [id, promotionId, customerId, purchases],
  );
  await addHeld(statements, promotionId, purchases);
}

/** Returns held purchases of an order to the limits of the promotion. */
export async function releaseHold(
  statements: NaiveStatements,
  { promotionId }: Fixture,
  orderId: string,
  purchases: number,
): Promise<void> {
  const [hold] = await statements.query<{ purchases: number }>(
    "select purchases from promotion_hold where order_id = $1",
    [orderId],
  );
  const isLast = hold?.purchases === purchases;
  const release = isLast
    ? "delete from promotion_hold where order_id = $1 and $2::int > 0"
    : "update promotion_hold set purchases = purchases - $2 where order_id = $1";
  await statements.query(release, [orderId, purchases]);
  await addHeld(statements, promotionId, -purchases);
}

/** Records the purchases of an order that is paid. */
export async function recordSales(
  statements: NaiveStatements,
  fixture: Fixture,
  order: StoredOrder,
): Promise<void> {
  const sold = order.lines.filter((line) => unitsLeft(line) > 0);
  await releaseHold(statements, fixture, order.id, sold.length);
  for (const line of sold) {
    await insertPurchase(statements, fixture, order.id, {
      kind: "SALE",
      line,
      units: unitsLeft(line),
      counts: true,
    });
  }
  await statements.query("update orders set sales_recorded = true where id = $1", [order.id]);
}

/** Reverses the purchases of units of an order that is paid. */
export async function reverseSales(
  statements: NaiveStatements,
  fixture: Fixture,
  order: StoredOrder,
  units: readonly ItemUnits[],
  countsAll: boolean,
): Promise<void> {
  for (const { item, quantity } of units) {
    const line = order.lines[item];
    if (line === undefined) continue;
    const counts = countsAll || quantity === unitsLeft(line);
    await insertPurchase(statements, fixture, order.id, { kind: "REVERSAL", line, units: quantity, counts });
  }
}

/** Returns how many lines have no units left when some are removed. */
export function countLast({ lines }: StoredOrder, units: readonly ItemUnits[]): number {
  return units.filter(({ item, quantity }) => {
    const line = lines[item];
    return line !== undefined && unitsLeft(line) === quantity;
  }).length;
}

async function addHeld(statements: NaiveStatements, promotionId: string, purchases: number): Promise<void> {
  await statements.query("update promotion set held_purchases = held_purchases + $2 where id = $1", [
    promotionId,
    purchases,
  ]);
}

async function insertPurchase(
  statements: NaiveStatements,
  { promotionId, productIds }: Fixture,
  orderId: string,
  { kind, line, units, counts }: { kind: string; line: ModelLine; units: number; counts: boolean },
): Promise<void> {
  const productId = productIds[line.product];
  const amount = units * line.unitPrice;
  await statements.query(
    `insert into purchase (
       event_id, user_id, promotion_id, product_id, order_id, kind, currency, amount_minor, counts, client_address,
       purchased_at, created_at
     ) select $1, customer_id::text, $3, $4, id, $5, 'EUR', $6, $7, '', now(), now() from orders where id = $2`,
    [randomUUID(), orderId, promotionId, productId, kind, amount, counts],
  );
  const isSale = kind === "SALE";
  await statements.query(
    `insert into purchase_total (
       promotion_id, product_id, currency, shard, sale_count, sale_minor, reversal_count, reversal_minor
     ) values ($1, $2, 'EUR', 0, $3, $4, $5, $6)
     on conflict (promotion_id, product_id, currency, shard) do update set
       sale_count = purchase_total.sale_count + excluded.sale_count,
       sale_minor = purchase_total.sale_minor + excluded.sale_minor,
       reversal_count = purchase_total.reversal_count + excluded.reversal_count,
       reversal_minor = purchase_total.reversal_minor + excluded.reversal_minor`,
    [
      promotionId,
      productId,
      isSale ? 1 : 0,
      isSale ? amount : 0,
      !isSale && counts ? 1 : 0,
      isSale ? 0 : amount,
    ],
  );
}
