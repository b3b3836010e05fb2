import { randomUUID } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import type { ProductSale } from "../../../../src/catalog/sales/add-sales.ts";
import {
  createSalesConsumer,
  POPULARITIES,
  publishSales,
} from "../../../../src/catalog/sales/sales-consumer.ts";
import { applyBatch } from "../../../../src/infra/outbox/consumer/apply-batch.ts";
import { silentLog } from "../../../support/log.ts";
import { openTagRecorder, type TagRecorder } from "../../../support/orders/invalidated-tags.ts";
import { waitForHorizon } from "../../../support/outbox/horizon.ts";
import { createRecordedLog } from "../../../support/outbox/recorded-log.ts";
import { startShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

test("cached responses show the units sold by orders, less those of cancelled orders", async () => {
  const shop = await startShop();
  onTestFinished(() => shop.close());
  const id = await makeProduct(shop, { stock: 100n });
  const place = (quantity: bigint) =>
    shop.orders.createOrder({ requestId: randomUUID(), order: { items: [{ productId: id, quantity }] } });
  const readSold = async () =>
    (await shop.catalog.getProduct({ key: { case: "id", value: id } })).product?.purchaseCount;
  expect(await readSold()).toBe(0n);
  const [first] = await Promise.all([place(30n), place(2n), place(1n)]);
  await expect.poll(readSold).toBe(33n);
  await shop.orders.cancelOrder({ id: first.order?.id ?? "" });
  await expect.poll(readSold).toBe(3n);
  const stored = "select popularity, purchase_count from product join product_sales on product_id = id";
  expect(await shop.database.query(stored)).toEqual([{ popularity: 13, purchase_count: "3" }]);
});

const salesConsumer = createSalesConsumer(silentLog);

test("the sales of a batch are one update of each product, and invalidate it", async () => {
  const shop = await openTagRecorder();
  onTestFinished(() => shop.close());
  const { id: categoryId } = await shop.makeCategory();
  const product = await shop.makeProduct(categoryId, 100n);
  await shop.database.query(`
    create table update_log (purchase_count bigint);
    create function log_update() returns trigger language plpgsql as $$
      begin insert into update_log values (new.purchase_count); return null; end $$;
    create trigger log_update after update of purchase_count on product_sales for each row execute function log_update()`);
  const input = { customerId: "", promotionId: "", items: [{ productId: product.id, quantity: 2n }] };
  for (let count = 0; count < 5; count += 1) {
    await shop.orders.create(shop.call, { order: input, requestId: randomUUID(), validateOnly: false });
  }
  await waitForHorizon(shop.database);
  expect(await shop.tagsOf(() => applyBatch(shop.db, shop.call, salesConsumer))).toEqual([
    `product:${product.id} throttled`,
  ]);
  expect(await shop.database.query("select * from update_log")).toEqual([{ purchase_count: "10" }]);
  await waitForHorizon(shop.database);
  // The row of the batch's own invalidation has no sales.
  expect(await applyBatch(shop.db, shop.call, salesConsumer)).toMatchObject({ rows: 1, events: 0 });
});

test("units sold that are stored too low become 0, with a warning, and the other sales are counted", async () => {
  const shop = await openTagRecorder();
  onTestFinished(() => shop.close());
  const { id: categoryId } = await shop.makeCategory();
  const [low, other] = [await shop.makeProduct(categoryId, 9n), await shop.makeProduct(categoryId, 9n)];
  const log = createRecordedLog();
  const consumer = createSalesConsumer(log);
  const apply = async (...sales: ProductSale[]) => {
    await shop.db.transact(shop.call, async (tx) => publishSales(tx, sales));
    await waitForHorizon(shop.database);
    await applyBatch(shop.db, shop.call, consumer);
  };
  await apply({ productId: low.id, units: 5n }, { productId: other.id, units: 5n });
  await shop.database.query("update product_sales set purchase_count = 2 where product_id = $1", [low.id]);
  await apply({ productId: low.id, units: -3n }, { productId: other.id, units: -5n });
  await apply({ productId: low.id, units: 4n }, { productId: other.id, units: 2n });
  const stored = await shop.database.query<{ product_id: string; purchase_count: string }>(
    "select product_id, purchase_count from product_sales",
  );
  const countOf = ({ id }: { id: string }) => stored.find((row) => row.product_id === id)?.purchase_count;
  expect([countOf(low), countOf(other)]).toEqual(["4", "2"]);
  expect(log.warnings).toMatchObject([
    {
      message: "Units sold were less than those of cancelled orders; set to 0",
      fields: { products: [low.id], count: 1 },
    },
  ]);
  // No order exists, so both differ from the orders.
  const breaches = (await findViolations(shop.database.url)).filter(({ name }) => name === "units-sold");
  expect(breaches.flatMap((check) => check.breaches)).toHaveLength(2);
});

test("a batch updates a bounded number of popularities, and the next batches the rest", async () => {
  const shop = await openTagRecorder();
  onTestFinished(() => shop.close());
  const rest = 30;
  const sell = await addUnsoldProducts(shop, POPULARITIES.first + rest);
  const countUpdated = async () =>
    (await shop.database.query("select from product where popularity = 6 or popularity = 10")).length;
  const apply = async () => {
    await waitForHorizon(shop.database);
    return applyBatch(shop.db, shop.call, salesConsumer);
  };
  const findBreaches = async () =>
    (await findViolations(shop.database.url)).filter(({ name }) => name === "popularity");
  await sell();
  await apply();
  expect(await countUpdated()).toBe(POPULARITIES.first);
  // The units are counted completely, and waiting popularities are no breach.
  expect(await shop.database.query("select from product_sales where purchase_count = 1")).toHaveLength(
    POPULARITIES.first + rest,
  );
  expect(await findBreaches()).toEqual([]);
  // The batch has published an event for the rest, so that no further sale is needed.
  expect(await apply()).toMatchObject({ events: 1 });
  expect(await countUpdated()).toBe(POPULARITIES.first + rest);
  expect(await findBreaches()).toEqual([]);
  expect(await apply()).toMatchObject({ events: 0 });
});

test("a batch updates as many popularities as the last one could in the allowed time", async () => {
  const shop = await openTagRecorder();
  onTestFinished(() => shop.close());
  const { first, min } = POPULARITIES;
  const count = first + 1_600 + 4 * min;
  const sell = await addUnsoldProducts(shop, count);
  let updateMs = 0;
  let nowMs = 0;
  // Is read before and after each update.
  const consumer = createSalesConsumer(silentLog, () => (nowMs += updateMs));
  const apply = async () => {
    await waitForHorizon(shop.database);
    await applyBatch(shop.db, shop.call, consumer);
    const [row] = await shop.database.query<{ count: number }>(
      "select count(*)::int as count from product where popularity > 0",
    );
    return row?.count;
  };
  await sell();
  updateMs = 250;
  expect(await apply()).toBe(first);
  // 400 ms for 1,000 in 250 ms.
  updateMs = 1_000_000;
  expect(await apply()).toBe(first + 1_600);
  updateMs = 0;
  expect(await apply()).toBe(first + 1_600 + min);
  // Twice as many as before at most.
  expect(await apply()).toBe(first + 1_600 + 3 * min);
  expect(await apply()).toBe(count);
});

/** Inserts products, and returns a function that sells a unit of each. */
async function addUnsoldProducts(shop: TagRecorder, count: number): Promise<() => Promise<void>> {
  const { id: categoryId } = await shop.makeCategory();
  const products = await shop.database.query<{ id: string }>(
    `with item as (select gen_random_uuid() as id, n from generate_series(1, $2::int) as n),
      brand as (insert into brand (name, created_at) values ('brand', now())),
      stock as (insert into inventory (product_id, on_hand) select id, 0 from item)
    insert into product (id, sku, name, description, category_id, brand, currency, price_minor, image_uri, attributes,
      created_at, updated_at)
    select id, 'S-' || n, 'thing', '', $1, 'brand', 'EUR', 100, '', '{}', now(), now() from item returning id`,
    [categoryId, count],
  );
  return () =>
    shop.db.transact(shop.call, async (tx) =>
      publishSales(
        tx,
        products.map(({ id }) => ({ productId: id, units: 1n })),
      ),
    );
}
