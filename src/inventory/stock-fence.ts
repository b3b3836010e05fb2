import { sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import { prepare } from "../infra/postgres/statement.ts";

// The rows stay locked until the transaction ends, so that no transaction with a lower token can commit afterwards.
const RAISE = prepare<[productIds: readonly string[], token: string], { token: string }>(
  (productIds, token) => sql`
    insert into stock_fence (product_id, token)
    select product_id, ${token}::bigint from inventory where product_id = any(${productIds}::uuid[])
    order by product_id
    on conflict (product_id) do update set token = greatest(stock_fence.token, excluded.token)
    returning token`,
);

/** A transaction whose lock of stock has a lower token than a transaction before it. */
export class StaleTokenError extends Error {
  override readonly name = "StaleTokenError";
  /** The highest token that the database has seen. */
  readonly highest: bigint;

  constructor(highest: bigint) {
    super(`the lock has an older token than ${highest}`);
    this.highest = highest;
  }
}

/** Records a fencing token. @throws StaleTokenError as `Inventory.checkToken` does */
export async function checkToken(tx: Tx, productIds: readonly string[], token: bigint): Promise<void> {
  const rows = await tx.query(RAISE(productIds, token.toString()));
  const highest = rows.map((row) => BigInt(row.token)).reduce((a, b) => (a > b ? a : b), token);
  if (highest > token) throw new StaleTokenError(highest);
}
