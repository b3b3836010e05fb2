import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
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

/**
 * Writes the purchases of new customers in promotions, and updates the totals in the same statement: the items of
 * their orders, reversed for a cancelled order, and the purchases outside the shop.
 * @param originMs time of the first run, in milliseconds since 1970
 * @returns the number of added purchases
 */
export async function writePurchases(
  tx: Tx,
  customers: readonly SeedCustomer[],
  orders: readonly PlacedOrder[],
  originMs: number,
): Promise<number> {
  const purchases = [
    ...orders.flatMap(generateOrderPurchases),
    ...customers.flatMap((customer) => generateExternalPurchases(customer, originMs)),
  ];
  const column = <T>(value: (purchase: Purchase) => T) => purchases.map(value);
  const [result] = await tx.query(sql<{ added: number }>`
    with added as (
      insert into purchase (
        event_id, user_id, promotion_id, product_id, order_id, kind,
        currency, amount_minor, client_address, purchased_at, created_at
      )
      select event_id, user_id, promotion_id, product_id, order_id, kind,
        currency, coalesce(amount_minor, price_minor), '192.0.2.1', at, at
      from unnest(
        ${column(({ eventId }) => eventId)}::uuid[], ${column(({ userId }) => userId)}::text[],
        ${column(({ promotionId }) => promotionId)}::uuid[], ${column(({ productId }) => productId)}::uuid[],
        ${column(({ orderId }) => orderId)}::uuid[], ${column(({ kind }) => kind)}::text[],
        ${column(({ amountMinor }) => amountMinor?.toString())}::bigint[], ${column(({ at }) => at)}::timestamptz[]
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
      from added group by promotion_id, product_id, currency order by promotion_id, product_id, currency
      on conflict (promotion_id, product_id, currency, shard) do update set
        sale_count = purchase_total.sale_count + excluded.sale_count,
        sale_minor = purchase_total.sale_minor + excluded.sale_minor,
        reversal_count = purchase_total.reversal_count + excluded.reversal_count,
        reversal_minor = purchase_total.reversal_minor + excluded.reversal_minor
    )
    select count(*)::int as added from added`);
  return result?.added ?? 0;
}

function generateOrderPurchases({
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
    const number = order.number * 10 + index;
    const sale: Purchase = {
      eventId: seedId("sale", number),
      userId: customerId,
      promotionId,
      productId: product.id,
      orderId: id,
      kind: "SALE",
      amountMinor: totalMinor,
      at: createdAt,
    };
    if (cancelledAt === undefined) return [sale];
    return [sale, { ...sale, eventId: seedId("reversal", number), kind: "REVERSAL", at: cancelledAt }];
  });
}

function generateExternalPurchases({ id, purchases }: SeedCustomer, originMs: number): Purchase[] {
  return purchases.flatMap(({ number, ageMs, productNumber }) => {
    const promotionId = findPromotionAt(ageMs);
    if (promotionId === undefined) return [];
    return [
      {
        eventId: seedId("purchase", number),
        userId: id,
        promotionId,
        productId: seedId("product", productNumber),
        orderId: null,
        kind: "SALE",
        amountMinor: undefined,
        at: new Date(originMs - ageMs).toISOString(),
      },
    ];
  });
}
