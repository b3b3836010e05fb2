import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import { prepareDynamic } from "../infra/postgres/statement.ts";

/** The stock of a product, with the columns that were selected with it. */
export interface StockLevel<Columns> {
  /** Units on hand. */
  quantity: bigint;
  columns: Columns;
}

/**
 * Locks the stock of products until the transaction ends, in id order, so that concurrent transactions cannot
 * deadlock. Stock is a column of the product's row: the caller selects its own columns of that row in the same
 * round trip.
 * @returns the stock by product id; unknown products are absent
 */
export async function lockStock<Columns>(
  tx: Tx,
  productIds: readonly string[],
  columns: RawBuilder<Columns>,
): Promise<Map<string, StockLevel<Columns>>> {
  // FOR NO KEY UPDATE instead of FOR UPDATE: it excludes other writers of stock as strictly, but foreign key checks
  // of purchases and order items do not wait for it. There are few lists of columns, so few texts are prepared.
  const statement = sql<{ id: string; stock_quantity: string } & Columns>`
    select id, stock_quantity, ${columns}
    from product where id = any(${productIds}::uuid[]) order by id for no key update`;
  const rows = await tx.query(prepareDynamic(statement));
  return new Map(rows.map((row) => [row.id, { quantity: BigInt(row.stock_quantity), columns: row }]));
}
