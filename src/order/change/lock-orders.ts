import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { notFound } from "../../kernel/errors.ts";
import type { OrderAccess } from "../guest/order-access.ts";
import { type OrderRow, orderFromRow, SELECT_ORDER } from "../order-row.ts";
import type { Order } from "../order-types.ts";

/**
 * Returns an order that the caller may change, and locks it until the transaction ends.
 * @throws AppError not_found, also for another customer's order
 */
export async function lockOrder(
  { orderAccess }: { orderAccess: OrderAccess },
  tx: Tx,
  call: Call,
  id: string,
): Promise<Order> {
  const { customerId: owner } = orderAccess(call, id);
  const locked = await tx.query(sql`
    select from orders where id = ${id} and (${owner}::uuid is null or customer_id = ${owner}) for update`);
  const [order] = locked.length === 0 ? [] : await readOrders(tx, [id]);
  if (order === undefined) throw notFound("order", id);
  return order;
}

/** Returns orders in the order of their ids. To be called after they were locked: an earlier snapshot may be older. */
export async function readOrders(tx: Tx, ids: readonly string[]): Promise<Order[]> {
  const rows = await tx.query(sql<OrderRow>`${SELECT_ORDER} where id = any(${ids}::uuid[]) order by id`);
  return rows.map(orderFromRow);
}
