import { OptimisticLockError } from "@mikro-orm/postgresql";
import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { AcceptedOrder } from "./decide.ts";

type Texts = readonly string[];
type OptionalTexts = readonly (string | null)[];

const INSERT = prepare<
  [
    now: Date,
    ids: Texts,
    customerIds: OptionalTexts,
    currencies: Texts,
    totals: Texts,
    promotionIds: OptionalTexts,
    owners: Texts,
    requestIds: Texts,
    fingerprints: readonly Buffer[],
    orderIds: Texts,
    positions: readonly number[],
    productIds: Texts,
    skus: Texts,
    names: Texts,
    prices: Texts,
    quantities: Texts,
  ],
  object
>(
  (
    now,
    ids,
    customerIds,
    currencies,
    totals,
    promotionIds,
    owners,
    requestIds,
    fingerprints,
    orderIds,
    positions,
    productIds,
    skus,
    names,
    prices,
    quantities,
  ) => sql`
    with item as (
      insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity)
      select * from unnest(
        ${orderIds}::uuid[], ${positions}::smallint[], ${productIds}::uuid[], ${skus}::text[], ${names}::text[],
        ${prices}::bigint[], ${quantities}::bigint[]
      )
    )
    insert into orders (
      id, customer_id, currency, total_minor, promotion_id, owner, request_id, fingerprint, state, version,
      created_at, updated_at
    )
    select placed.*, 'PENDING', 1, at, at
    from unnest(
      ${ids}::uuid[], ${customerIds}::uuid[], ${currencies}::text[], ${totals}::bigint[], ${promotionIds}::uuid[],
      ${owners}::text[], ${requestIds}::uuid[], ${fingerprints}::bytea[]
    ) as placed, (select ${now}::timestamptz as at) as recorded`,
);

/**
 * Writes new orders with their items in one statement.
 * @throws OptimisticLockError, after which the transaction is repeated, when another one has used a request_id meanwhile
 */
export async function writeOrders(tx: Tx, accepted: readonly AcceptedOrder[], now: Date): Promise<void> {
  const orders = accepted.map(({ order }) => order);
  const placements = accepted.map(({ placement }) => placement);
  const items = orders.flatMap((order) =>
    order.items.map((item, index) => ({ ...item, orderId: order.id, position: index + 1 })),
  );
  const statement = INSERT(
    now,
    orders.map(({ id }) => id),
    orders.map(({ customerId }) => customerId || null),
    orders.map(({ totalPrice }) => totalPrice.currencyCode),
    orders.map(({ totalPrice }) => totalPrice.minorUnits.toString()),
    orders.map(({ promotionId }) => promotionId || null),
    placements.map(({ owner }) => owner),
    placements.map(({ requestId }) => requestId),
    placements.map(({ fingerprint }) => fingerprint),
    items.map(({ orderId }) => orderId),
    items.map(({ position }) => position),
    items.map(({ productId }) => productId),
    items.map(({ sku }) => sku),
    items.map(({ name }) => name),
    items.map(({ unitPrice }) => unitPrice.minorUnits.toString()),
    items.map(({ quantity }) => quantity.toString()),
  );
  await tx.query(statement).catch((error: unknown) => {
    if (violatesConstraint(error, "orders_request_unique"))
      throw new OptimisticLockError("request_id in use");
    throw error;
  });
}
