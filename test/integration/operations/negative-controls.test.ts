import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checks } from "../../../src/operations/invariants/checks.ts";
import { findFailedChecks, verifyDatabase } from "../../support/operations/failed-checks.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";

/** Ids of the rows that the statements change, by the names of their placeholders. */
interface Ids {
  product: string;
  category: string;
  order: string;
  cancelled: string;
  promotion: string;
}

let shop: TestShop;
let ids: Ids;
beforeAll(async () => {
  shop = await startShop();
  const product = await makeProduct(shop, { stock: 10n });
  const limits = { name: "Autumn", purchaseLimit: 5n, purchaseLimitPerUser: 3n };
  const { promotion } = await shop.tracker.createPromotion({ promotion: limits });
  const ann = await shop.identity.register({
    email: "ann@example.com",
    name: "Ann",
    password: "long enough",
  });
  await shop.identity.register({ email: "bo@example.com", name: "Bo", password: "long enough" });
  const promotionId = promotion?.id ?? "";
  const placeOrder = async () => {
    const order = {
      customerId: ann.account?.customerId ?? "",
      promotionId,
      items: [{ productId: product, quantity: 2n }],
    };
    return (await shop.orders.createOrder({ requestId: randomUUID(), order })).order?.id ?? "";
  };
  const { product: created } = await shop.catalog.getProduct({ key: { case: "id", value: product } });
  ids = {
    product,
    category: created?.categoryId ?? "",
    promotion: promotionId,
    order: await placeOrder(),
    cancelled: await placeOrder(),
  };
  await shop.orders.cancelOrder({ id: ids.cancelled });
});
afterAll(() => shop.close());

/**
 * Negative controls: each changes the data without the service, after it has removed the constraint or trigger that
 * prevents the change. `:order` and the like are ids.
 */
const CONTROLS: readonly (readonly [check: string, resource: string, ...statements: string[]])[] = [
  ["order-totals", "orders/:order", "update orders set total_minor = total_minor + 1 where id = ':order'"],
  [
    "order-totals",
    "orders/:order",
    "alter table order_item drop constraint order_item_quantity_in_range",
    "update order_item set quantity = 0 where order_id = ':order'",
    "update orders set total_minor = 0 where id = ':order'",
  ],
  ["order-items", "orders/:order", "delete from order_item where order_id = ':order'"],
  ["order-states", "orders/:order", "update orders set state = 'CANCELLED' where id = ':order'"],
  ["order-states", "orders/:cancelled", "update orders set state = 'PENDING' where id = ':cancelled'"],
  [
    "order-states",
    "orders/:order",
    "update orders set updated_at = created_at - interval '1 hour' where id = ':order'",
  ],
  ["order-purchases", "orders/:order", "delete from purchase where order_id = ':order'"],
  [
    "order-purchases",
    "orders/:cancelled",
    "delete from purchase where order_id = ':cancelled' and kind = 'REVERSAL'",
  ],
  ["order-purchases", "orders/:order", "update orders set promotion_id = null where id = ':order'"],
  [
    "purchase-totals",
    "promotions/:promotion/products/:product",
    "update purchase_total set sale_count = sale_count + 1 where promotion_id = ':promotion'",
  ],
  [
    "purchase-totals",
    "promotions/:promotion/products/:product",
    "delete from purchase_total where promotion_id = ':promotion'",
  ],
  [
    "promotion-limits",
    "promotions/:promotion",
    "insert into purchase select gen_random_uuid(), user_id, promotion_id, product_id, null, kind, currency, amount_minor, client_address, purchased_at, created_at from purchase, generate_series(1, 3) where order_id = ':order'",
  ],
  [
    "promotion-limits",
    "promotions/:promotion",
    "insert into purchase select gen_random_uuid(), n::text, promotion_id, product_id, null, kind, currency, amount_minor, client_address, purchased_at, created_at from purchase, generate_series(1, 5) as n where order_id = ':order'",
  ],
  [
    "references",
    "review/:order",
    "alter table review drop constraint review_product_id_fk",
    "insert into review select ':order', gen_random_uuid(), id, 'Ann', 5, '', '', now() from customer limit 1",
  ],
  [
    "session-tokens",
    "sessions/:order",
    "alter table session drop constraint session_ended_without_token",
    "update session set id = ':order', ended_at = now() where account_id = (select min(account_id::text)::uuid from session)",
  ],
  [
    "refresh-tokens",
    "sessions/:order",
    "update session set id = ':order' where account_id = (select min(account_id::text)::uuid from session)",
    "update session set id = 'ffffffff-ffff-7fff-bfff-ffffffffffff', refresh_hash = (select refresh_hash from session where id = ':order') where id <> ':order'",
  ],
  [
    "product-counts",
    "categories/:category",
    "insert into product_count select category_id, brand, currency, price_band(price_minor), 1, 1, 1 from product where id = ':product'",
  ],
  [
    "product-counts",
    "categories/:category",
    "delete from product_count_delta where category_id = ':category'",
  ],
  [
    "product-counts",
    "categories/:category",
    "update product_count_delta set in_stock_count = 0 where category_id = ':category'",
  ],
  [
    "product-ratings",
    "products/:product",
    "update product set rating_count = 1, rating_sum = 5, rating_average = 5 where id = ':product'",
  ],
];

const withIds = (text: string): string =>
  text.replace(
    /:(\w+)/g,
    (placeholder, name: string) => new Map(Object.entries(ids)).get(name) ?? placeholder,
  );

test.each(CONTROLS)("the check %s detects %s after: %s; %s", async (check, resource, ...statements) => {
  const { query } = shop.database;
  await query("begin");
  try {
    for (const statement of statements) await query(withIds(statement));
    const failed = await findFailedChecks(query);
    const found = failed.find(({ name }) => name === check);
    expect(found?.breaches.map((breach) => breach.resource)).toContain(withIds(resource));
  } finally {
    await query("rollback");
  }
});

test("each check has a negative control", () => {
  expect([...new Set(CONTROLS.map(([check]) => check))].sort()).toEqual(
    checks.map(({ name }) => name).sort(),
  );
});

test("a shop that was only used through its API has no breaches", async () => {
  expect(await verifyDatabase(shop.database.url)).toEqual([]);
});
