import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checks } from "../../../src/operations/invariants/checks.ts";
import { historyControls } from "../../support/operations/history-controls.ts";
import { jobControls } from "../../support/operations/job-controls.ts";
import type { NegativeControl } from "../../support/operations/negative-control.ts";
import { paymentControls } from "../../support/operations/payment-controls.ts";
import { purchaseControls } from "../../support/operations/purchase-controls.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, markPaid } from "../../support/shop-fixtures.ts";
import { findFailedChecks, findViolations } from "../../support/stores/invariants.ts";

/** Ids of the rows that the statements change, by the names of their placeholders. */
interface Ids {
  product: string;
  category: string;
  /** A paid order. */
  order: string;
  /** An order that was paid and then cancelled. */
  cancelled: string;
  /** An order that is not paid, of another customer. */
  held: string;
  /** A paid order of 2 units, of which one is shipped and delivered. */
  shipped: string;
  /** The payment of `order`. */
  payment: string;
  /** The payment of `cancelled`. */
  released: string;
  /** The request_id of `order`. */
  request: string;
  /** A product without orders. */
  other: string;
  promotion: string;
}

let shop: TestShop;
let ids: Ids;
beforeAll(async () => {
  // Without workers the events of the orders stay unread.
  shop = await startShop({ WORKERS: "0" });
  const product = await makeProduct(shop, { stock: 10n });
  const limits = { name: "Autumn", purchaseLimit: 5n, purchaseLimitPerUser: 3n };
  const { promotion } = await shop.tracker.createPromotion({ promotion: limits });
  const ann = await shop.identity.register({
    email: "ann@example.com",
    name: "Ann",
    password: "long enough",
  });
  const bo = await shop.identity.register({ email: "bo@example.com", name: "Bo", password: "long enough" });
  const promotionId = promotion?.id ?? "";
  const placeOrder = async (requestId: string, { account } = ann) => {
    const customerId = account?.customerId ?? "";
    const order = { customerId, promotionId, items: [{ productId: product, quantity: 2n }] };
    return (await shop.orders.createOrder({ requestId, order })).order?.id ?? "";
  };
  const { product: created } = await shop.catalog.getProduct({ key: { case: "id", value: product } });
  const request = randomUUID();
  const placed = {
    order: await placeOrder(request),
    cancelled: await placeOrder(randomUUID()),
    held: await placeOrder(randomUUID(), bo),
    shipped: await placeOrder(randomUUID(), bo),
  };
  for (const id of [placed.order, placed.cancelled, placed.shipped]) await markPaid(shop, id);
  const paymentOf = async (orderId: string) => {
    const payments = await shop.database.query<{ id: string }>("select id from payment where order_id = $1", [
      orderId,
    ]);
    return payments[0]?.id ?? "";
  };
  ids = {
    ...placed,
    payment: await paymentOf(placed.order),
    released: await paymentOf(placed.cancelled),
    product,
    category: created?.categoryId ?? "",
    promotion: promotionId,
    request,
    other: await makeProduct(shop, { stock: 1n }),
  };
  const items = [{ itemId: "1", quantity: 1n }];
  await shop.orders.shipOrder({ id: ids.shipped, requestId: randomUUID(), items });
  await shop.orders.deliverOrder({ requestId: randomUUID(), id: ids.shipped });
  await shop.orders.cancelOrder({ id: ids.cancelled });
});
afterAll(() => shop.close());

const CONTROLS: readonly NegativeControl[] = [
  [
    "stock-movements",
    "products/:product",
    "update inventory set on_hand = on_hand + 1 where product_id = ':product'",
  ],
  [
    "stock-movements",
    "products/:product",
    "update inventory set reserved = reserved - 1 where product_id = ':product'",
  ],
  [
    "stock-movements",
    "products/:product",
    "delete from stock_movement where product_id = ':product' and reason = 'INITIAL'",
  ],
  [
    "stock-movements",
    "products/:other",
    "delete from stock_movement where product_id = ':other'",
    "delete from inventory where product_id = ':other'",
  ],
  [
    "movement-accounts",
    "products/:product",
    "alter table stock_movement drop constraint stock_movement_account_known",
    "update stock_movement set reason = 'SHIP', order_sequence = 1 where order_id = ':order'",
  ],
  [
    "reserved-units",
    "products/:product",
    "update inventory set reserved = reserved - 1 where product_id = ':product'",
  ],
  [
    "reserved-units",
    "products/:product",
    "update order_item set cancelled_quantity = 0 where order_id = ':cancelled'",
  ],
  ["availability", "products/:product", "update product set in_stock = false where id = ':product'"],
  [
    "availability",
    "products/:product",
    "update inventory set reserved = on_hand where product_id = ':product'",
  ],
  ["units-sold", "products/:product", "insert into product_sales values (':product', 1)"],
  [
    "units-sold",
    "products/:product",
    "update outbox_cursor set epoch = epoch + 1 where consumer = 'product-sales'",
  ],
  ["units-sold", "products/:product", "delete from outbox_1"],
  ["popularity", "products/:product", "update product set popularity = 1 where id = ':product'"],
  [
    "stock-range",
    "products/:product",
    "alter table inventory drop constraint inventory_reserved_in_range",
    "update inventory set on_hand = 1 where product_id = ':product'",
  ],
  ["order-owners", "orders/:order", "update orders set owner = 'other' where id = ':order'"],
  [
    "order-requests",
    "requests/:request",
    "alter table orders drop constraint orders_request_unique",
    "update orders set request_id = ':request'",
  ],
  [
    "request-results",
    "requests/:request",
    "insert into idempotency (method, owner, request_id, fingerprint) values ('AdjustStock', '', ':request', '')",
  ],
  ["order-movements", "orders/:order", "delete from stock_movement where order_id = ':order'"],
  ["order-movements", "orders/:order", "delete from order_item where order_id = ':order'"],
  [
    "order-movements",
    "orders/:order",
    "alter table stock_movement drop constraint stock_movement_account_known",
    "insert into stock_movement (product_id, reserved_delta, reason, order_id, order_sequence, effective_at, created_at) select product_id, n, reason, order_id, n + 3, now(), now() from stock_movement, (values (1), (-1)) as half (n) where order_id = ':order'",
  ],
  [
    "order-restocks",
    "orders/:order",
    "update order_item set cancelled_quantity = 1 where order_id = ':order'",
  ],
  [
    "order-restocks",
    "orders/:cancelled",
    "update stock_movement set reserved_delta = -1 where order_id = ':cancelled' and reason = 'CANCEL'",
  ],
  [
    "order-restocks",
    "orders/:cancelled",
    "drop index stock_movement_order_event_unique",
    "insert into stock_movement (product_id, reserved_delta, reason, order_id, effective_at, created_at) select product_id, reserved_delta, reason, order_id, now(), now() from stock_movement where order_id = ':cancelled' and reason = 'CANCEL'",
  ],
  ["order-totals", "orders/:order", "update orders set total_minor = total_minor + 1 where id = ':order'"],
  ["order-totals", "orders/:order", "update orders set tax_minor = 1 where id = ':order'"],
  ["order-totals", "orders/:order", "update order_item set tax_minor = 1 where order_id = ':order'"],
  [
    "order-totals",
    "orders/:order",
    "alter table order_item drop constraint order_item_quantity_in_range",
    "update order_item set quantity = 0 where order_id = ':order'",
    "update orders set total_minor = 0 where id = ':order'",
  ],
  ["order-items", "orders/:order", "delete from order_item where order_id = ':order'"],
  ["order-expiries", "orders/:order", "update orders set closing = 'EXPIRING' where id = ':order'"],
  [
    "order-expiries",
    "orders/:cancelled",
    "insert into order_expiry (order_id, attempts, retry_at) values (':cancelled', 1, now())",
  ],
  ["order-states", "orders/:order", "update orders set version = 3 where id = ':order'"],
  ["order-states", "orders/:cancelled", "delete from order_event where order_id = ':cancelled'"],
  [
    "order-states",
    "orders/:cancelled",
    "update order_event set sequence = 4 where order_id = ':cancelled' and sequence = 3",
  ],
  [
    "order-states",
    "orders/:order",
    "update orders set updated_at = created_at - interval '1 hour' where id = ':order'",
  ],
  [
    "references",
    "reviews/:order",
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
  [
    "review-purchases",
    "reviews/:product",
    "insert into review select ':product', ':other', customer_id, 'Ann', 5, '', '', now() from orders where id = ':order'",
  ],
  [
    "review-purchases",
    "reviews/:product",
    "delete from order_event where order_id = ':shipped'",
    "update orders set payment_state = 'UNPAID' where id = ':shipped'",
    "insert into review select ':product', ':product', customer_id, 'Bo', 5, '', '', now() from orders where id = ':held'",
  ],
  ...purchaseControls,
  ...jobControls,
  ...historyControls,
  ...paymentControls,
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
  expect(await findViolations(shop.database.url)).toEqual([]);
});
