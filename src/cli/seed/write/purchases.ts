import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import type { SeedCustomer } from "../generate/customers.ts";
import { findPromotionAt } from "../generate/promotions.ts";
import { seedId } from "../generate/seed-id.ts";
import type { HistoryEvent } from "./order-history.ts";
import type { PlacedItem, PlacedOrder } from "./placed-order.ts";

interface Purchase {
  eventId: string;
  userId: string;
  promotionId: string;
  productId: string;
  orderId: string | null;
  kind: "SALE" | "REVERSAL";
  /** Euro cents; undefined for one unit at the product's price. */
  amountMinor: bigint | undefined;
  /** False for a reversal of some units of an item. */
  counts: boolean;
  at: string;
}

/**
 * Writes the purchases of new customers in promotions, and updates the totals in the same statement: the items of
 * their paid orders, reversals of their cancelled and returned units, and the purchases outside the shop.
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
        currency, amount_minor, counts, client_address, purchased_at, created_at
      )
      select event_id, user_id, promotion_id, product_id, order_id, kind,
        currency, coalesce(amount_minor, price_minor), counts, '192.0.2.1', at, at
      from unnest(
        ${column(({ eventId }) => eventId)}::uuid[], ${column(({ userId }) => userId)}::text[],
        ${column(({ promotionId }) => promotionId)}::uuid[], ${column(({ productId }) => productId)}::uuid[],
        ${column(({ orderId }) => orderId)}::uuid[], ${column(({ kind }) => kind)}::text[],
        ${column(({ amountMinor }) => amountMinor?.toString())}::bigint[], ${column(({ counts }) => counts)}::boolean[],
        ${column(({ at }) => at)}::timestamptz[]
      ) as item (event_id, user_id, promotion_id, product_id, order_id, kind, amount_minor, counts, at)
      join product on product.id = product_id
      on conflict do nothing
      returning promotion_id, product_id, currency, kind, amount_minor, counts
    ), total as (
      insert into purchase_total (
        promotion_id, product_id, currency, shard, sale_count, sale_minor, reversal_count, reversal_minor
      )
      select promotion_id, product_id, currency, 0,
        count(*) filter (where kind = 'SALE'), coalesce(sum(amount_minor) filter (where kind = 'SALE'), 0),
        count(*) filter (where kind = 'REVERSAL' and counts), coalesce(sum(amount_minor) filter (where kind = 'REVERSAL'), 0)
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
  items,
  history,
}: PlacedOrder): Purchase[] {
  const paid = history.events.find(({ type }) => type === "PAID");
  if (promotionId === null || paid === undefined) return [];
  return items.flatMap((item, index) => {
    const number = order.number * 10 + index;
    const sale: Purchase = {
      eventId: seedId("sale", number),
      userId: customerId,
      promotionId,
      productId: item.product.id,
      orderId: id,
      kind: "SALE",
      amountMinor: item.totalMinor,
      counts: true,
      at: paid.at,
    };
    const reversal = reverseSale(sale, item, history.events);
    return reversal === undefined ? [sale] : [sale, { ...reversal, eventId: seedId("reversal", number) }];
  });
}

/** Returns the reversal of the cancelled or returned units of an item; undefined without any. */
function reverseSale(
  sale: Purchase,
  { product, quantity, cancelled, returned }: PlacedItem,
  events: readonly HistoryEvent[],
): Purchase | undefined {
  const units = cancelled + returned;
  const event = events.at(-1);
  if (units === 0 || event === undefined) return undefined;
  const amountMinor = product.priceMinor * BigInt(units);
  return { ...sale, kind: "REVERSAL", amountMinor, counts: units === quantity, at: event.at };
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
        counts: true,
        at: new Date(originMs - ageMs).toISOString(),
      },
    ];
  });
}
