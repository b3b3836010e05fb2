import type { ClientBase } from "pg";
import type { SeedCustomer } from "../generate/customers.ts";
import { findPromotionAt } from "../generate/promotions.ts";
import { seedId } from "../generate/seed-id.ts";
import type { PlacedOrder } from "./orders.ts";

interface Purchase {
  eventId: string;
  userId: string;
  promotionId: string;
  productId: string;
  orderId: string | null;
  kind: "SALE" | "REVERSAL";
  /** Euro cents; undefined for one unit at the product's price. */
  amountMinor: bigint | undefined;
  at: string;
}

// What is new is added to the totals in the same statement: both or neither.
const INSERT = `
  with fresh as (
    insert into purchase (
      event_id, user_id, promotion_id, product_id, order_id, kind,
      currency, amount_minor, client_address, purchased_at, created_at
    )
    select event_id, user_id, promotion_id, product_id, order_id, kind,
      currency, coalesce(amount_minor, price_minor), '192.0.2.1', at, at
    from unnest(
      $1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::bigint[], $8::timestamptz[]
    ) as item (event_id, user_id, promotion_id, product_id, order_id, kind, amount_minor, at)
    join product on product.id = product_id
    on conflict do nothing
    returning promotion_id, product_id, currency, kind, amount_minor
  ), total as (
    insert into purchase_total (
      promotion_id, product_id, currency, shard, sale_count, sale_minor, reversal_count, reversal_minor
    )
    select promotion_id, product_id, currency, 0,
      count(*) filter (where kind = 'SALE'), coalesce(sum(amount_minor) filter (where kind = 'SALE'), 0),
      count(*) filter (where kind = 'REVERSAL'), coalesce(sum(amount_minor) filter (where kind = 'REVERSAL'), 0)
    from fresh group by promotion_id, product_id, currency order by promotion_id, product_id, currency
    on conflict (promotion_id, product_id, currency, shard) do update set
      sale_count = purchase_total.sale_count + excluded.sale_count,
      sale_minor = purchase_total.sale_minor + excluded.sale_minor,
      reversal_count = purchase_total.reversal_count + excluded.reversal_count,
      reversal_minor = purchase_total.reversal_minor + excluded.reversal_minor
  )
  select count(*)::int as added from fresh`;

/**
 * Records, in the caller's transaction, what new customers bought in promotions: the items of their orders,
 * taken back where an order was cancelled, and what they bought elsewhere.
 * @param originMs the time of the first run, milliseconds since 1970
 * @returns how many were added
 */
export async function recordPurchases(
  client: ClientBase,
  customers: readonly SeedCustomer[],
  orders: readonly PlacedOrder[],
  originMs: number,
): Promise<number> {
  const purchases = [
    ...orders.flatMap(ofOrder),
    ...customers.flatMap((customer) => ofCustomer(customer, originMs)),
  ];
  const column = <T>(value: (purchase: Purchase) => T) => purchases.map(value);
  const { rows } = await client.query<{ added: number }>(INSERT, [
    column((purchase) => purchase.eventId),
    column((purchase) => purchase.userId),
    column((purchase) => purchase.promotionId),
    column((purchase) => purchase.productId),
    column((purchase) => purchase.orderId),
    column((purchase) => purchase.kind),
    column((purchase) => purchase.amountMinor?.toString()),
    column((purchase) => purchase.at),
  ]);
  return rows[0]?.added ?? 0;
}

function ofOrder({
  id,
  order,
  customerId,
  promotionId,
  createdAt,
  cancelledAt,
  items,
}: PlacedOrder): Purchase[] {
  if (promotionId === null) return [];
  return items.flatMap(({ product, totalMinor }, index) => {
    const sale: Purchase = {
      ...{ promotionId, userId: customerId, productId: product.id, orderId: id, amountMinor: totalMinor },
      ...{ eventId: seedId("sale", order.number * 10 + index), kind: "SALE", at: createdAt },
    };
    if (cancelledAt === undefined) return [sale];
    const eventId = seedId("reversal", order.number * 10 + index);
    return [sale, { ...sale, eventId, kind: "REVERSAL", at: cancelledAt }];
  });
}

function ofCustomer({ id, purchases }: SeedCustomer, originMs: number): Purchase[] {
  return purchases.flatMap(({ number, ageMs, productNumber }) => {
    const promotionId = findPromotionAt(ageMs);
    if (promotionId === undefined) return [];
    return [
      {
        ...{ promotionId, userId: id, orderId: null, kind: "SALE", amountMinor: undefined },
        ...{ eventId: seedId("purchase", number), productId: seedId("product", productNumber) },
        at: new Date(originMs - ageMs).toISOString(),
      },
    ];
  });
}
