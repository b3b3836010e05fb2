import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OrderState } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCustomer, makeProduct, markPaid } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";
import { makePromotion, purchaseOf } from "../../support/tracker/promotion-fixtures.ts";

/** The longest deadline that the service allows, in milliseconds. */
const DEADLINE_MS = 30_000;
const REACHED = "PURCHASE_LIMIT_REACHED";

let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
  productId = await makeProduct(shop, { stock: 1_000n });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

/** Places an order of one unit of each product, and returns its id. */
async function place(promotionId: string, { customerId = "", products = [productId] } = {}): Promise<string> {
  const items = products.map((id) => ({ productId: id, quantity: 1n }));
  const request = { requestId: randomUUID(), order: { customerId, promotionId, items } };
  const { order } = await shop.orders.createOrder(request, { timeoutMs: DEADLINE_MS });
  return order?.id ?? "";
}

const record = (promotionId: string, userId = "ann") =>
  shop.tracker.recordPurchase(
    { purchase: purchaseOf(promotionId, productId, { userId }) },
    { timeoutMs: DEADLINE_MS },
  );

/** Returns "" or the reason of the failure. */
const reasonOf = (call: Promise<unknown>) =>
  call.then(
    () => "",
    () => failureOf(call).then(({ reason = "" }) => reason),
  );

const countOf = async (promotionId: string) =>
  (await shop.tracker.getPurchaseStats({ promotionId })).totalCount;

async function heldBy(promotionId: string): Promise<number> {
  const [row] = await shop.database.query<{ held: number }>(
    "select held_purchases::int as held from promotion where id = $1",
    [promotionId],
  );
  return row?.held ?? -1;
}

test("of 20 concurrent orders for the last purchase of a promotion exactly one is placed", async () => {
  const promotionId = await makePromotion(shop, { purchaseLimit: 1n });
  const reasons = await Promise.all(Array.from({ length: 20 }, () => reasonOf(place(promotionId))));
  expect(reasons.toSorted()).toEqual(["", ...Array.from({ length: 19 }, () => REACHED)]);
  expect(await heldBy(promotionId)).toBe(1);
  expect(await countOf(promotionId)).toBe(0n);
});

test("concurrent orders and recorded purchases together do not exceed a limit, and all orders can be paid", async () => {
  const promotionId = await makePromotion(shop, { purchaseLimit: 10n });
  const orders: string[] = [];
  const placeNext = async () => void orders.push(await place(promotionId));
  const reasons: string[] = [];
  // In the first wave all calls succeed, so that both kinds have purchases in the second one.
  for (let wave = 0; wave < 3; wave += 1) {
    const calls = Array.from({ length: 8 }, (_, index) =>
      reasonOf(index % 2 === 0 ? record(promotionId) : placeNext()),
    );
    reasons.push(...(await Promise.all(calls)));
  }
  expect(reasons.filter((reason) => reason === "")).toHaveLength(10);
  expect(reasons.filter((reason) => reason === REACHED)).toHaveLength(14);
  expect(await countOf(promotionId)).toBe(BigInt(10 - orders.length));
  expect(await heldBy(promotionId)).toBe(orders.length);
  for (const id of orders) await markPaid(shop, id);
  expect(await countOf(promotionId)).toBe(10n);
  expect(await heldBy(promotionId)).toBe(0);
});

test("an unpaid order counts towards the limit of its customer, for orders and for RecordPurchase", async () => {
  const promotionId = await makePromotion(shop, { purchaseLimitPerUser: 2n });
  const customerId = await makeCustomer(shop);
  await place(promotionId, { customerId });
  const second = await makeProduct(shop, { stock: 1n });
  const both = place(promotionId, { customerId, products: [productId, second] });
  expect(await failureOf(both)).toMatchObject({ code: "FailedPrecondition", reason: REACHED });
  await record(promotionId, customerId);
  expect(await failureOf(record(promotionId, customerId))).toMatchObject({
    code: "FailedPrecondition",
    reason: REACHED,
  });
  await record(promotionId, "another user");
});

test("a cancellation before the payment frees the limits, and nothing is recorded", async () => {
  const promotionId = await makePromotion(shop, { purchaseLimit: 2n });
  const second = await makeProduct(shop, { stock: 1n });
  const id = await place(promotionId, { products: [productId, second] });
  expect(await reasonOf(place(promotionId))).toBe(REACHED);
  await shop.orders.cancelOrder({ id });
  await shop.orders.cancelOrder({ id });
  expect(await heldBy(promotionId)).toBe(0);
  expect((await shop.tracker.listPurchases({ promotionId })).purchases).toEqual([]);
  await place(promotionId);
});

test("an order that waits for the promotion gets the purchase that a cancellation releases", async () => {
  const promotionId = await makePromotion(shop, { purchaseLimit: 1n });
  const otherId = await makeProduct(shop, { stock: 1n });
  const id = await place(promotionId);
  const blocker = new Client({ connectionString: shop.database.url });
  await blocker.connect();
  await blocker.query("begin");
  await blocker.query("select from inventory where product_id = $1 for update", [productId]);
  const { rows } = await blocker.query<{ pid: number }>("select pg_backend_pid() as pid");
  const waiting = async (pid: number | undefined) =>
    (
      await shop.database.query<{ pid: number }>(
        "select pid from pg_stat_activity where $1 = any(pg_blocking_pids(pid))",
        [pid],
      )
    ).map((row) => row.pid);
  // The cancellation has released the purchase, and waits for the stock.
  const cancelled = shop.orders.cancelOrder({ id }, { timeoutMs: DEADLINE_MS });
  await expect.poll(() => waiting(rows[0]?.pid)).toHaveLength(1);
  const [cancelling] = await waiting(rows[0]?.pid);
  const placed = place(promotionId, { products: [otherId] });
  await expect.poll(() => waiting(cancelling)).not.toEqual([]);
  await blocker.query("commit");
  await blocker.end();
  expect((await cancelled).order?.state).toBe(OrderState.CANCELLED);
  expect(await placed).not.toBe("");
  expect(await heldBy(promotionId)).toBe(1);
});

test("a payment against a cancellation either records sales and reverses them, or records nothing", async () => {
  const promotionId = await makePromotion(shop, { purchaseLimit: 100n });
  const orders = await Promise.all(Array.from({ length: 20 }, () => place(promotionId)));
  expect(await heldBy(promotionId)).toBe(20);
  const outcomes = await Promise.all(
    orders.map(async (id) => {
      const cancelled = shop.orders.cancelOrder({ id }, { timeoutMs: DEADLINE_MS });
      const [reason] = await Promise.all([reasonOf(markPaid(shop, id)), cancelled]);
      return reason;
    }),
  );
  const sales = outcomes.filter((reason) => reason === "").length;
  const { purchases } = await shop.tracker.listPurchases({ promotionId, pageSize: 100 });
  expect(purchases).toHaveLength(2 * sales);
  expect(await heldBy(promotionId)).toBe(0);
  expect(await countOf(promotionId)).toBe(0n);
});

test("an order can be paid after its promotion has ended", async () => {
  const promotionId = await makePromotion(shop, { purchaseLimit: 1n });
  const id = await place(promotionId);
  await shop.tracker.endPromotion({ id: promotionId });
  await markPaid(shop, id);
  expect(await shop.tracker.getPurchaseStats({ promotionId })).toMatchObject({
    totalCount: 1n,
    totalAmount: { minorUnits: 1_000n },
  });
});

test("an order of a promotion without limits holds nothing, and is recorded when it is paid", async () => {
  const promotionId = await makePromotion(shop);
  const id = await place(promotionId);
  expect(await heldBy(promotionId)).toBe(0);
  expect(await countOf(promotionId)).toBe(0n);
  await markPaid(shop, id);
  expect(await countOf(promotionId)).toBe(1n);
});

test("an order that costs nothing is recorded when it is placed", async () => {
  const promotionId = await makePromotion(shop, { purchaseLimit: 1n });
  const free = await makeProduct(shop, { stock: 2n, minorUnits: 0n });
  const id = await place(promotionId, { products: [free] });
  expect(await heldBy(promotionId)).toBe(0);
  expect(await countOf(promotionId)).toBe(1n);
  expect(await reasonOf(place(promotionId, { products: [free] }))).toBe(REACHED);
  await shop.orders.cancelOrder({ id });
  expect(await countOf(promotionId)).toBe(0n);
});
