import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import { customerKey, type Placement, promotionKey, requestKey } from "./placement.ts";

interface FreeKey {
  key: string;
}

type Keys = readonly string[];

const FIND_FREE_REQUESTS = prepare<[keys: Keys], FreeKey>(
  (keys) => sql`
    select key from unnest(${keys}::text[]) as key where pg_try_advisory_xact_lock(hashtextextended(key, 0))`,
);
const FIND_FREE_CUSTOMERS = prepare<[ids: Keys], FreeKey>(
  (ids) => sql`select id as key from customer where id = any(${ids}::uuid[]) for share skip locked`,
);
const FIND_FREE_PROMOTIONS = prepare<[ids: Keys], FreeKey>(
  (ids) => sql`select id as key from promotion where id = any(${ids}::uuid[]) for no key update skip locked`,
);
// Orders that sell out a product write its row too.
const FIND_FREE_PRODUCTS = prepare<[ids: Keys], FreeKey>(
  (ids) => sql`
    select id as key from inventory join product on product.id = product_id
    where product_id = any(${ids}::uuid[]) for no key update skip locked`,
);
// SKIP LOCKED does not tell locked rows from missing ones.
const FIND_EXISTING = prepare<[customerIds: Keys, promotionIds: Keys, productIds: Keys], FreeKey>(
  (customerIds, promotionIds, productIds) => sql`
    select id as key from customer where id = any(${customerIds}::uuid[])
    union all select id from promotion where id = any(${promotionIds}::uuid[])
    union all select product_id from inventory where product_id = any(${productIds}::uuid[])`,
);

/** Returns those keys of placements whose rows another session has locked, without waiting for them. */
export async function findLockedKeys(tx: Tx, placements: readonly Placement[]): Promise<ReadonlySet<string>> {
  const requests = distinct(placements.map(({ owner, requestId }) => requestKey(owner, requestId)));
  const customerIds = distinct(placements.map(({ customerId }) => customerId));
  const promotionIds = distinct(placements.map(({ promotionId }) => promotionId));
  const productIds = distinct(placements.flatMap(({ lines }) => lines.map(({ productId }) => productId)));
  const [existing, freeRequests, ...free] = await tx.pipelined(() =>
    Promise.all([
      tx.query(FIND_EXISTING(customerIds, promotionIds, productIds)),
      tx.query(FIND_FREE_REQUESTS(requests)),
      tx.query(FIND_FREE_CUSTOMERS(customerIds)),
      tx.query(FIND_FREE_PROMOTIONS(promotionIds)),
      tx.query(FIND_FREE_PRODUCTS(productIds)),
    ]),
  );
  const existingIds = keysOf(existing);
  const freeIds = keysOf(free.flat());
  const isLocked = (id: string) => existingIds.has(id) && !freeIds.has(id);
  const freeRequestKeys = keysOf(freeRequests);
  return new Set([
    ...requests.filter((key) => !freeRequestKeys.has(key)),
    ...customerIds.filter(isLocked).map(customerKey),
    ...promotionIds.filter(isLocked).map(promotionKey),
    ...productIds.filter(isLocked),
  ]);
}

function distinct(ids: Keys): string[] {
  return [...new Set(ids)].filter((id) => id !== "");
}

function keysOf(rows: readonly FreeKey[]): Set<string> {
  return new Set(rows.map(({ key }) => key));
}
