import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { availableUnits, crossesZero, type StockTransition } from "../../inventory/inventory.ts";

/**
 * Writes the availability of products whose units that can be ordered have become 0 or have ceased to be, in id order,
 * and invalidates the lists that show it. The stock of the products must be locked.
 * @param transitions changes of the stock, one for each product
 */
export async function updateAvailability(tx: Tx, transitions: readonly StockTransition[]): Promise<void> {
  const crossed = transitions.filter(crossesZero);
  if (crossed.length === 0) return;
  await tx.query(sql`
    with change as materialized (
      select id, is_in_stock from product join unnest(
        ${crossed.map(({ productId }) => productId)}::uuid[],
        ${crossed.map(({ after }) => availableUnits(after) > 0n)}::boolean[]
      ) as change (product_id, is_in_stock) on id = product_id
      order by id for no key update of product
    )
    update product set in_stock = change.is_in_stock from change where product.id = change.id`);
  tx.invalidate("catalog");
}
