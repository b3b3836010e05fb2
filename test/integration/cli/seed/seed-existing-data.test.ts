import { randomUUID } from "node:crypto";
import { createValidator } from "@bufbuild/protovalidate";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CategorySchema, ProductSchema } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { CustomerSchema } from "../../../../gen/cartwright/customer/v1/customer_pb.ts";
import { FulfillmentSchema } from "../../../../gen/cartwright/order/v1/fulfillment_pb.ts";
import { OrderEventSchema, OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { OrderSchema } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import {
  PromotionSchema,
  PromotionState,
  PurchaseSchema,
} from "../../../../gen/cartwright/tracker/v1/tracker_pb.ts";
import { seedId } from "../../../../src/cli/seed/generate/seed-id.ts";
import { seedShop } from "../../../../src/cli/seed/seed-shop.ts";
import { createIds } from "../../../../src/kernel/ids.ts";
import { digestTables, findViolations } from "../../../support/seed/database-state.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations as findFailedChecks } from "../../../support/stores/invariants.ts";

let shop: TestShop;
let url: string;
beforeAll(async () => {
  shop = await startShop();
  url = shop.database.url;
});
afterAll(() => shop.close());

const euros = { currencyCode: "EUR", minorUnits: 100n };

test("rows that staff created before keep their values even if the seed would use their sku, slug or email", async () => {
  const { category } = await shop.catalog.createCategory({
    category: { slug: "phones", name: "Our phones" },
  });
  const ownProduct = { sku: "SKU-000007", name: "Ours", categoryId: category?.id ?? "", price: euros };
  const { product } = await shop.catalog.createProduct({ product: ownProduct });
  const { customer } = await shop.customers.createCustomer({
    customer: { email: "ARA.Rippin.1@example.com", name: "Another Ara" },
  });
  const seeded = await seedShop({ url, products: 400, customers: 60 });
  expect(seeded).toMatchObject({ products: 399, customers: 59 });
  const id = product?.id ?? "";
  expect((await shop.catalog.getProduct({ key: { case: "id", value: id } })).product).toEqual(product);
  expect((await shop.customers.getCustomer({ id: customer?.id ?? "" })).customer).toEqual(customer);
  const phones = await shop.catalog.listProducts({ categoryId: category?.id ?? "" });
  expect(phones.products.length).toBeGreaterThan(1);
  expect(await findViolations(shop.database)).toEqual([]);
  expect(await seedShop({ url, products: 400, customers: 60 })).toMatchObject({ products: 0, customers: 0 });
});

test("seeded rows satisfy the contract, and of the promotions one has ended, one is active and one is scheduled", async () => {
  const { products } = await shop.catalog.listProducts({ pageSize: 100 });
  const { categories } = await shop.catalog.listCategories({ pageSize: 100 });
  const { customers } = await shop.customers.listCustomers({ pageSize: 100 });
  const { orders } = await shop.orders.listOrders({ pageSize: 100 });
  const [returned] = await shop.database.query<{ id: string }>(`
    select order_id as id from fulfillment
    where order_id in (select order_id from order_item where returned_quantity > 0)
    group by order_id having count(*) = 1 order by order_id limit 1`);
  const id = returned?.id ?? "";
  const { events } = await shop.orders.listOrderEvents({ id });
  const { fulfillments } = await shop.orders.listFulfillments({ id });
  expect(events.map(({ type }) => type)).toEqual([
    OrderEventType.PLACED,
    OrderEventType.PAID,
    OrderEventType.SHIPPED,
    OrderEventType.DELIVERED,
    OrderEventType.ITEMS_RETURNED,
  ]);
  expect(fulfillments.map((one) => one.id)).toEqual([events[2]?.fulfillmentId]);
  const { promotions } = await shop.tracker.listPromotions({});
  const { purchases } = await shop.tracker.listPurchases({ pageSize: 100 });
  expect(categories).toHaveLength(15);
  expect(promotions.map(({ state }) => state).sort()).toEqual([
    PromotionState.SCHEDULED,
    PromotionState.ACTIVE,
    PromotionState.ENDED,
  ]);
  const validator = createValidator();
  const violations = [
    ...products.map((message) => validator.validate(ProductSchema, message)),
    ...categories.map((message) => validator.validate(CategorySchema, message)),
    ...customers.map((message) => validator.validate(CustomerSchema, message)),
    ...orders.map((message) => validator.validate(OrderSchema, message)),
    ...events.map((message) => validator.validate(OrderEventSchema, message)),
    ...fulfillments.map((message) => validator.validate(FulfillmentSchema, message)),
    ...promotions.map((message) => validator.validate(PromotionSchema, message)),
    ...purchases.map((message) => validator.validate(PurchaseSchema, message)),
  ].filter(({ kind }) => kind !== "valid");
  expect(violations).toEqual([]);
  expect([products, customers, orders, purchases].map((list) => list.length > 50)).toEqual([
    true,
    true,
    true,
    true,
  ]);
});

test("after sales and changes by staff a repeated run changes nothing, and a larger run keeps the invariants", async () => {
  const productId = seedId("product", 1);
  const customerId = seedId("customer", 2);
  const promotionId = seedId("promotion", 2);
  const sell = async (quantity: bigint) => {
    const order = { customerId, promotionId, items: [{ productId, quantity }] };
    return (await shop.orders.createOrder({ requestId: randomUUID(), order })).order;
  };
  await sell(3n);
  await shop.orders.cancelOrder({ id: (await sell(2n))?.id ?? "" });
  for (const state of ["PENDING", "CONFIRMED"]) {
    const [seeded] = await shop.database.query<{ id: string }>(
      `select id from orders
       where state = $1 and fulfillment_state = 'UNFULFILLED' and promotion_id is not null order by id limit 1`,
      [state],
    );
    await shop.orders.cancelOrder({ id: seeded?.id ?? "" });
  }
  const [shipped] = await shop.database.query<{ id: string }>(
    "select id from orders where fulfillment_state = 'UNFULFILLED' and payment_state = 'PAID' and closing = 'NONE' limit 1",
  );
  await shop.orders.shipOrder({ requestId: randomUUID(), id: shipped?.id ?? "" });
  const purchase = { eventId: createIds()(), userId: "till", promotionId, productId, amount: euros };
  await shop.tracker.recordPurchase({ purchase });
  // Popular products: one deleted, one priced in another currency, one with a single unit left.
  const dollars = { currencyCode: "USD", minorUnits: 500n };
  await shop.catalog.deleteProduct({ id: seedId("product", 11) });
  await shop.catalog.updateProduct({ product: { id: seedId("product", 10), price: dollars } });
  const key = { case: "id", value: seedId("product", 30) } as const;
  const quantity = (await shop.catalog.getProduct({ key })).product?.stockQuantity ?? 0n;
  await shop.catalog.adjustStock({ productId: key.value, delta: 1n - quantity, reason: 3 });
  await shop.catalog.updateCategory({ category: { id: seedId("category", 3), slug: "notebooks" } });
  await shop.customers.deleteCustomer({ id: customerId });
  await shop.tracker.endPromotion({ id: promotionId });

  // Units sold are counted within seconds.
  await expect.poll(() => findViolations(shop.database), { timeout: 30_000 }).toEqual([]);
  const before = await digestTables(shop.database);
  expect(await seedShop({ url, products: 400, customers: 60 })).toMatchObject({
    products: 0,
    customers: 0,
    orders: 0,
  });
  expect(await digestTables(shop.database)).toEqual(before);

  const added = await seedShop({ url, products: 900, customers: 400 });
  expect(added).toMatchObject({ products: 500, customers: 340 });
  expect(added.orders).toBeGreaterThan(300);
  expect(await findViolations(shop.database)).toEqual([]);
  expect(await findFailedChecks(url)).toEqual([]);
  const sold = await shop.database.query(
    "select product_id from order_item join orders on orders.id = order_id where customer_id > $1 and product_id = any($2)",
    [seedId("customer", 60), [seedId("product", 10), seedId("product", 11)]],
  );
  expect(sold).toEqual([]);
});
