import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { migrate, openForMigration } from "../../../../src/infra/postgres/migrate.ts";
import { addOrderLife } from "../../../../src/infra/postgres/migrations/online/migration-20261130090000-order-life.ts";
import { silentLog } from "../../../support/log.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";

/** The other migrations of this version run before it, while replicas of the previous version write orders. */
const PREVIOUS = "migration-20261130070000-outbox-truncation";
const LATE = randomUUID();
const PENDING = randomUUID();
const CANCELLED = randomUUID();
const PROMOTED = randomUUID();

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase("template1");
  const client = new Client({ connectionString: database.url });
  await client.connect();
  const orm = await openForMigration(entities, { url: database.url, session: { client, log: silentLog } });
  await orm.migrator.up({ to: PREVIOUS });
  await orm.close();
  // Without the products, customers and promotions that the rows refer to.
  await database.query("set session_replication_role = replica");
  await database.query(
    `insert into orders (id, state, version, promotion_id, owner, currency, total_minor, request_id, created_at, updated_at)
     values ($1, 'PENDING', 1, null, '', 'EUR', 200, $1, now(), now()),
       ($2, 'CANCELLED', 2, null, '', 'EUR', 200, $2, now() - interval '1 day', now()),
       ($3, 'PENDING', 1, $3, '', 'EUR', 200, $3, now(), now()),
       ($4, 'PENDING', 1, null, '', 'EUR', 200, $4, now(), now())`,
    [PENDING, CANCELLED, PROMOTED, LATE],
  );
  await database.query(
    `insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity)
     select id, 1, gen_random_uuid(), 'SKU', 'Product', 100, 2 from orders`,
  );
  await database.query(
    `insert into idempotency (method, owner, request_id, fingerprint, response)
     values ('CancelOrder', '', $1, '', ''), ('AdjustStock', '', $1, '', '')`,
    [CANCELLED],
  );
  await database.query("set session_replication_role = origin");
  await addOrderLife({ client: cancellingBeforeLastStep(client), log: silentLog });
  await client.end();
  await migrate(database.url, entities, silentLog);
});
afterAll(() => database.drop());

/** Returns a connection before whose last step a replica of the previous version cancels an order. */
function cancellingBeforeLastStep(client: Client): Client {
  return new Proxy(client, {
    get(target, name) {
      if (name !== "query") return Reflect.get(target, name, target);
      return async (text: string, values?: unknown[]) => {
        if (text.startsWith("lock table idempotency")) {
          await database.query("update orders set state = 'CANCELLED', version = 2 where id = $1", [LATE]);
        }
        return target.query(text, values);
      };
    },
  });
}

test("orders of the previous version keep their state and do not expire", async () => {
  const orders = await database.query(`
    select id, state, payment_state, fulfillment_state, closing, sales_recorded, expires_at from orders`);
  const open = {
    payment_state: "UNPAID",
    fulfillment_state: "UNFULFILLED",
    closing: "NONE",
    expires_at: null,
  };
  expect(orders).toEqual(
    expect.arrayContaining([
      { ...open, id: PENDING, state: "PENDING", sales_recorded: false },
      { ...open, id: CANCELLED, state: "CANCELLED", closing: "CANCELLED", sales_recorded: false },
      { ...open, id: LATE, state: "CANCELLED", closing: "CANCELLED", sales_recorded: false },
      { ...open, id: PROMOTED, state: "PENDING", sales_recorded: true },
    ]),
  );
});

test("the units of cancelled orders are cancelled, and their cancellation is in the history", async () => {
  expect(
    await database.query("select order_id, cancelled_quantity from order_item where cancelled_quantity <> 0"),
  ).toEqual(
    expect.arrayContaining([
      { order_id: CANCELLED, cancelled_quantity: "2" },
      { order_id: LATE, cancelled_quantity: "2" },
    ]),
  );
  expect(await database.query("select order_id, sequence, type, actor from order_event")).toEqual(
    expect.arrayContaining(
      [CANCELLED, LATE].map((order_id) => ({ order_id, sequence: 2, type: "CANCELLED", actor: "" })),
    ),
  );
});

test("replicas of the previous version, which do not count held purchases, cannot record purchases", async () => {
  await database.query("set session_replication_role = replica");
  const insert = database.query(`
    insert into purchase (event_id, user_id, promotion_id, product_id, kind, currency, amount_minor, client_address,
      purchased_at, created_at)
    select gen_random_uuid(), 'ann', gen_random_uuid(), gen_random_uuid(), 'SALE', 'EUR', 1, '', now(), now()`);
  await expect(insert).rejects.toThrow('null value in column "counts"');
});

test("the stored results of cancellations, which lack the new fields, are deleted", async () => {
  expect(await database.query("select method from idempotency")).toEqual([{ method: "AdjustStock" }]);
});

test("replicas of the previous version can read orders, but neither place nor cancel them", async () => {
  await expect(
    database.query(
      `insert into orders (id, state, version, owner, currency, total_minor, request_id, created_at, updated_at)
       values ($1, 'PENDING', 1, '', 'EUR', 200, $1, now(), now())`,
      [randomUUID()],
    ),
  ).rejects.toMatchObject({ code: "428C9" });
  await expect(
    database.query("update orders set state = 'CANCELLED' where id = $1", [PENDING]),
  ).rejects.toMatchObject({ code: "428C9" });
});
