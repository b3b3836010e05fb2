import { randomUUID } from "node:crypto";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { preventTruncation } from "../../../src/operations/operations.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";
import { runOn } from "../../support/stores/invariants.ts";

/** The names of all checks, in the order of their invariants. */
const CHECKS = [
  "availability",
  "movement-accounts",
  "order-shipments",
  "popularity",
  "reserved-units",
  "stock-movements",
  "units-sold",
  "authorizations",
  "late-money",
  "ledger-discrepancies",
  "ledger-orders",
  "ledger-payments",
  "payment-requests",
  "refund-shares",
  "refunds-within-captured",
  "webhook-events",
  "order-totals",
  "stock-range",
  "order-owners",
  "order-requests",
  "request-results",
  "order-holds",
  "order-purchases",
  "order-sales",
  "promotion-holds",
  "promotion-limits",
  "purchase-reversals",
  "purchase-totals",
  "jobs",
  "order-expiries",
  "order-items",
  "order-movements",
  "references",
  "order-fulfillment-state",
  "order-history",
  "order-item-units",
  "order-last-event",
  "order-restocks",
  "order-states",
  "order-units",
  "refresh-tokens",
  "session-tokens",
  "product-counts",
  "product-ratings",
  "review-purchases",
];

let shop: TestShop;
let orderIds: string[];
beforeAll(async () => {
  shop = await startShop({ WORKERS: "0" });
  const productId = await makeProduct(shop, { stock: 10n });
  const place = async () =>
    shop.orders.createOrder({ requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } });
  const placed = [await place(), await place(), await place()];
  orderIds = placed.map(({ order }) => order?.id ?? "").sort();
});
afterAll(() => shop.close());

test("all checks of consistent data pass, in the order of their invariants", async () => {
  const startedAt = Date.now();
  const { passed, checks, snapshotTime } = await shop.operations.verifyInvariants({});
  expect(passed).toBe(true);
  expect(checks.map(({ name }) => name)).toEqual(CHECKS);
  expect(checks.filter(({ breachCount }) => breachCount > 0n)).toEqual([]);
  expect(checks.map(({ invariant }) => invariant)).toEqual(checks.map(({ invariant }) => invariant).sort());
  for (const { description, duration } of checks) {
    expect(description).toMatch(/^[A-Z].*\.$/);
    expect(duration).toBeDefined();
  }
  // Database and service are on one machine here, so that their clocks agree.
  const time = snapshotTime === undefined ? 0 : timestampDate(snapshotTime).getTime();
  expect(time).toBeGreaterThanOrEqual(startedAt);
});

test("a breach is reported with its resource and its values, and all breaches are counted", async () => {
  await shop.database.query("update orders set total_minor = total_minor + 1");
  try {
    const { passed, checks } = await shop.operations.verifyInvariants({ maxBreaches: 2 });
    expect(passed).toBe(false);
    const failed = checks.filter(({ breachCount }) => breachCount > 0n);
    expect(failed).toMatchObject([{ name: "order-totals", invariant: "I2", breachCount: 3n }]);
    expect(failed[0]?.breaches.map(({ resource, values }) => ({ resource, values }))).toEqual(
      orderIds.slice(0, 2).map((id) => ({
        resource: `orders/${id}`,
        values: expect.objectContaining({ total_minor: "1001", items_minor: "1000", min_unit_minor: "1000" }),
      })),
    );
  } finally {
    await shop.database.query("update orders set total_minor = total_minor - 1");
  }
});

test("a value past 2^53 is reported exactly", async () => {
  const [id = ""] = orderIds;
  await shop.database.query("alter table orders add column saved bigint");
  await shop.database.query(
    "update orders set saved = total_minor, total_minor = 9007199254740993 where id = $1",
    [id],
  );
  try {
    const { checks } = await shop.operations.verifyInvariants({});
    const [breach] = checks.flatMap(({ breaches }) => breaches);
    expect(breach?.values.total_minor).toBe("9007199254740993");
  } finally {
    await shop.database.query("update orders set total_minor = saved where id = $1", [id]);
    await shop.database.query("alter table orders drop column saved");
  }
});

test("the value of a missing row is empty", async () => {
  const id = await makeProduct(shop, { stock: 3n });
  await shop.database.query("create table deleted as select * from stock_movement limit 0");
  await shop.database.query(
    "with gone as (delete from stock_movement where product_id = $1 returning *) insert into deleted select * from gone",
    [id],
  );
  try {
    const { checks } = await shop.operations.verifyInvariants({});
    expect(checks.flatMap(({ breaches }) => breaches)).toMatchObject([
      {
        resource: `products/${id}`,
        values: { on_hand: "3", moved_on_hand: "", reserved: "0", moved_reserved: "" },
      },
    ]);
  } finally {
    await shop.database.query("insert into stock_movement select * from deleted");
    await shop.database.query("drop table deleted");
  }
});

test("max_breaches is 100 at most", async () => {
  const failure = await failureOf(shop.operations.verifyInvariants({ maxBreaches: 101 }));
  expect(failure).toMatchObject({ code: "InvalidArgument", reason: "INVALID_REQUEST" });
});

test("one verification runs at a time; the next one is possible when it has ended", async () => {
  const { query } = shop.database;
  await query("select pg_advisory_lock(x'76657269'::int)");
  const failure = await failureOf(shop.operations.verifyInvariants({}));
  expect(failure).toMatchObject({ code: "Aborted", reason: "VERIFICATION_RUNNING" });
  await query("select pg_advisory_unlock(x'76657269'::int)");
  expect((await shop.operations.verifyInvariants({})).passed).toBe(true);
});

test("the outbox is not truncated during a verification, whose snapshot is taken after that is certain", async () => {
  const other = new Client({ connectionString: shop.database.url });
  await other.connect();
  const { query } = shop.database;
  const countEvents = async () =>
    (await query<{ count: number }>("select count(*)::int as count from outbox_1"))[0]?.count ?? 0;
  try {
    const before = await countEvents();
    await query("begin transaction isolation level repeatable read read only");
    await preventTruncation(runOn(query));
    await other.query("insert into outbox_1 (epoch, events) values (1, '[]')");
    expect(await countEvents()).toBe(before + 1);
    await other.query("set lock_timeout = 1");
    await expect(other.query("truncate outbox_1")).rejects.toMatchObject({ code: "55P03" });
  } finally {
    await query("rollback");
    await other.end();
  }
});
