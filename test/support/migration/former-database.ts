import { Client } from "pg";
import { entities } from "../../../src/entities.ts";
import { FORMER_LATEST, openForMigration } from "../../../src/infra/postgres/migrate.ts";
import { silentLog } from "../log.ts";
import type { TestDatabase } from "../stores/database.ts";

/** The number of rows to seed. */
export interface FormerShop {
  products: number;
  /** Orders of two products each; every tenth is cancelled. */
  orders: number;
}

/** Returns the SQL of the id of the product or order with a number. */
export const idOf = (number: string): string => `lpad(to_hex(${number}), 32, '0')::uuid`;

/**
 * Migrates an empty database to the schema of an earlier version.
 * @param latest its last migration. Defaults to that of the version in which stock is a column of the product
 */
export async function migrateToFormer(url: string, latest = FORMER_LATEST): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const orm = await openForMigration(entities, { url, session: { client, log: silentLog } });
  await orm.migrator.up({ to: latest });
  await orm.close();
  await client.end();
}

/** Fills a database of the previous version with products, orders and the ledger of both, all consistent. */
export async function seedFormerShop(
  database: Pick<TestDatabase, "query">,
  { products, orders }: FormerShop,
): Promise<void> {
  const { query } = database;
  const line = `
    select number, position, ${idOf(`1 + (number * 7 + position * 13) % ${products}`)} as product_id
    from generate_series(1, ${orders}) as number, generate_series(1, 2) as position`;
  const isCancelled = "number % 10 = 0";
  await query(`
    insert into category (id, slug, name, created_at, updated_at)
    values ('00000000-0000-0000-0000-000000000001', 'all', 'All', now(), now())`);
  // In one statement with the final stock, so that no row is updated.
  await query(`
    with sold as materialized (
      select product_id, count(*) filter (where not ${isCancelled}) as units from (${line}) as line group by product_id
    ), added as (
      insert into product (id, sku, name, description, category_id, brand, currency, price_minor, stock_quantity,
        purchase_count, image_uri, attributes, created_at, updated_at)
      select ${idOf("number")}, 'sku-' || number, 'Product ' || number % 1000, '',
        '00000000-0000-0000-0000-000000000001', '', 'EUR', 100 + number % 900, 1000 - coalesce(units, 0),
        coalesce(units, 0), '', '{}', now(), now()
      from generate_series(1, ${products}) as number left join sold on product_id = ${idOf("number")}
      returning id
    )
    insert into stock_movement (product_id, delta, reason, effective_at, created_at)
    select id, 1000, 'INITIAL', now(), now() from added`);
  await query(`
    insert into customer (id, email, name, created_at, updated_at)
    values (${idOf("1")}, 'one@example.com', 'One', now(), now())`);
  await query(`
    insert into orders (id, customer_id, state, version, currency, total_minor, request_id, created_at, updated_at)
    select ${idOf("number")}, case when number % 3 = 0 then ${idOf("1")} end, case when ${isCancelled} then 'CANCELLED' else 'PENDING' end,
      case when ${isCancelled} then 2 else 1 end, 'EUR', 200, ${idOf("number")}, now(), now() from generate_series(1, ${orders}) as number`);
  // Each fourth request is forgotten.
  await query(`
    insert into idempotency (method, owner, request_id, fingerprint, response)
    select 'CreateOrder', coalesce(customer_id::text, 'service-account:shop'), request_id, uuid_send(request_id), ''
    from orders where get_byte(uuid_send(id), 15) % 4 > 0`);
  await query(`
    insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity)
    select ${idOf("number")}, position, product_id, 'sku', 'Product', 100, 1 from (${line}) as line`);
  await query(`
    insert into stock_movement (product_id, delta, reason, order_id, effective_at, created_at)
    select product_id, -1, 'ORDER', ${idOf("number")}, now(), now() from (${line}) as line
    union all
    select product_id, 1, 'CANCEL', ${idOf("number")}, now(), now() from (${line}) as line where ${isCancelled}`);
}
