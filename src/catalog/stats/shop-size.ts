import { sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { POPULARITY_STEPS } from "../product/product.entity.ts";
import { SCAN_SHARE, type ShopSize } from "../search/plan.ts";

const MAX_AGE_MS = 60_000;

/** Counts are cut off just above the share that a search may scan, since larger indexes are not used. */
const findSizes = prepare<[], { products: number; popular: number[] }>(() => {
  const counts = POPULARITY_STEPS.map(
    (above) => `(
      select count(*) from (
        select from product where popularity > ${above} limit greatest(0, reltuples * ${SCAN_SHARE})::bigint + 1
      ) as popular
    )`,
  );
  return sql`
    select reltuples as products, array[${sql.raw(counts.join(", "))}]::int[] as popular
    from pg_class where oid = 'product'::regclass`;
});

/**
 * Creates a function that returns the size of the shop, at most a minute old. It determines
 * the strategy of a search, but never its results.
 */
export function createShopSizeReader(db: Database): (call: Call) => Promise<ShopSize> {
  let cached: ShopSize | undefined;
  let expiresAtMs = 0;
  return async (call) => {
    const nowMs = performance.now();
    if (cached !== undefined && nowMs < expiresAtMs) return cached;
    // Other calls use the cached size while this one reads.
    expiresAtMs = nowMs + MAX_AGE_MS;
    const [row] = await db.read(call, findSizes());
    const products = Math.max(0, row?.products ?? 0);
    const steps = POPULARITY_STEPS.map((above, index) => ({ above, products: row?.popular[index] ?? 0 }));
    const popular = steps.find((step) => step.products <= products * SCAN_SHARE);
    cached = { products, popular: popular ?? { above: 32_767, products: 0 } };
    return cached;
  };
}
