import { hasColumn, type OnlineSession } from "../../online/online-session.ts";
import { withTableLocks } from "../../online/table-locks.ts";
import { REFERRING_TABLES } from "./migration-20261129000000-inventory.ts";

/**
 * Drops what only the previous version uses, in one short transaction that rewrites no table. It is the last migration of
 * its version: replicas of the previous version fail from here on, instead of selling units that are reserved.
 */
export async function dropFormerSchema(session: OnlineSession): Promise<void> {
  if (!(await hasColumn(session, "product", "stock_quantity"))) return;
  // Orders use products before order items, cancellations after them; both write their request_id first.
  const locks = {
    lockedFirst: "idempotency",
    tables: ["purchase", "purchase_total", "product", "orders", "order_item", "stock_movement"],
    mode: "access exclusive",
  } as const;
  await withTableLocks(session, locks, async () => {
    await dropProductStock(session);
    await dropRequestsOfOrders(session);
  });
}

async function dropProductStock({ client }: OnlineSession): Promise<void> {
  await client.query("drop trigger inventory_copy_product on product");
  await client.query("drop trigger inventory_convert_movement on stock_movement");
  await client.query("drop function inventory_copy_product, inventory_convert_movement");
  for (const table of REFERRING_TABLES) {
    await client.query(`alter table ${table} drop constraint ${table}_product_id_fk`);
    await client.query(
      `alter table ${table} rename constraint ${table}_inventory_fk to ${table}_product_id_fk`,
    );
  }
  await client.query("drop index order_item_product, stock_movement_product");
  await client.query("alter index stock_movement_product_created rename to stock_movement_product");
  await client.query("alter table stock_movement rename column delta to on_hand_delta");
  await client.query(`
    alter table product
      alter column in_stock drop expression, alter column in_stock set default false,
      alter column popularity drop expression, alter column popularity set default 0,
      drop column stock_low, drop column stock_quantity, drop column purchase_count`);
}

async function dropRequestsOfOrders({ client }: OnlineSession): Promise<void> {
  await client.query("drop trigger order_copy_request on orders");
  await client.query("drop function order_copy_request");
  await client.query("drop index orders_request_unique, idempotency_order_request");
  await client.query(
    "alter table orders add constraint orders_request_unique unique using index orders_owner_request",
  );
}
