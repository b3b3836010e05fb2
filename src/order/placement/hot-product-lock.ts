import type { BatchDatabase } from "../../infra/batch-writer/batch-writer.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { RedisLock } from "../../infra/redis/redis-lock.ts";
import { type Inventory, StaleTokenError } from "../../inventory/inventory.ts";
import type { Placement } from "./placement.ts";

/** Dependencies of locking hot products. */
export interface HotProductLockOptions {
  db: Pick<Database, "transact">;
  inventory: Pick<Inventory, "checkToken">;
  lock: Pick<RedisLock, "acquire">;
}

/** A product is hot for a batch if at least so many of its orders have it. */
export const HOT_ORDERS = 8;
/** Attempts with the lock. The second one has a token that is high enough, unless another replica is faster. */
const ATTEMPTS = 2;

/**
 * Locks the hot products of a batch in Redis before its transaction, so that batches of other replicas wait there
 * without a connection. The transaction is repeated when a later holder of the lock has committed before it. Without
 * the lock it runs too: the row locks keep the stock correct.
 */
export function lockHotProducts({ db, inventory, lock }: HotProductLockOptions): BatchDatabase<Placement> {
  return {
    async transact(call, work, { items, ...limits }) {
      const productIds = hotProducts(items);
      let minToken = 0n;
      for (let attempt = 1; productIds.length > 0 && attempt <= ATTEMPTS; attempt += 1) {
        const lease = await lock.acquire(productIds, { signal: call.signal, minToken });
        if (lease === undefined) break;
        try {
          return await db.transact(
            call,
            async (tx) => {
              await inventory.checkToken(tx, productIds, lease.token);
              return work(tx);
            },
            limits,
          );
        } catch (error) {
          if (!(error instanceof StaleTokenError)) throw error;
          minToken = error.highest;
        } finally {
          lease.release();
        }
      }
      return db.transact(call, work, limits);
    },
  };
}

/** Returns the products that at least HOT_ORDERS placements share, sorted. */
function hotProducts(placements: readonly Placement[]): string[] {
  if (placements.length < HOT_ORDERS) return [];
  const counts = new Map<string, number>();
  for (const { lines } of placements) {
    for (const { productId } of lines) counts.set(productId, (counts.get(productId) ?? 0) + 1);
  }
  return [...counts].flatMap(([productId, count]) => (count >= HOT_ORDERS ? [productId] : [])).sort();
}
