import { BATCH_ROWS, type Batch, runBatch, runInBatches } from "../../online/batches.ts";
import { addConstraint, createIndex } from "../../online/online-schema.ts";
import { hasColumn, type OnlineSession } from "../../online/online-session.ts";
import { withTableLocks } from "../../online/table-locks.ts";

/** Tables whose foreign keys to products refer to the inventory afterwards: the row that an order locks anyway. */
export const REFERRING_TABLES = ["stock_movement", "order_item", "purchase", "purchase_total"];

/**
 * Copies stock and units sold from the product's row to narrow tables. Replicas of the previous version read and write
 * meanwhile: triggers apply their changes to the copies, so that at any time, for each product with a copy:
 * - `on_hand - reserved` is its stock_quantity,
 * - `reserved` is the sum of `reserved_delta` of its stock movements, to which those of orders are converted.
 *
 * A copy is only written while its product's row is locked. Orders lock rows of products in id order, and so does the
 * migration: it cannot cause deadlocks. A later migration drops the columns of the product.
 */
export async function copyInventory(session: OnlineSession): Promise<void> {
  await createTables(session);
  await copyProducts(session);
  await convertMovements(session);
  await reserveOrders(session);
  await addConstraints(session);
  await createIndex(
    session,
    "stock_movement_product_created",
    "on stock_movement (product_id, created_at, id)",
  );
  await createIndex(
    session,
    "stock_movement_recount",
    "on stock_movement (product_id, effective_at) where reason = 'RECOUNT'",
  );
  await session.client.query("analyze inventory, product_sales, stock_movement");
}

/**
 * Creates the tables, and the triggers that apply changes of products and orders to them. Movements of orders without
 * `reserved_delta` are older than this transaction.
 */
async function createTables(session: OnlineSession): Promise<void> {
  if (await hasColumn(session, "stock_movement", "reserved_delta")) return;
  const { client } = session;
  const locks = { tables: ["product", "stock_movement"], mode: "access exclusive" } as const;
  await withTableLocks(session, locks, async () => {
    await client.query(`
      create table inventory (
        product_id uuid not null,
        on_hand bigint not null,
        reserved bigint not null default 0,
        version bigint not null default 1,
        primary key (product_id),
        constraint inventory_product_id_fk foreign key (product_id) references product (id)
      ) with (fillfactor = 80)`);
    await client.query(`
      create table product_sales (
        product_id uuid not null,
        purchase_count bigint not null,
        popularity_due_at timestamptz(3) null,
        primary key (product_id),
        constraint product_sales_not_negative check (purchase_count >= 0),
        constraint product_sales_product_id_fk foreign key (product_id) references product (id)
      ) with (fillfactor = 80)`);
    await client.query(`
      create index product_sales_popularity_due on product_sales (popularity_due_at, product_id)
      where popularity_due_at is not null`);
    await client.query(`
      alter table stock_movement
        drop constraint stock_movement_delta_not_zero,
        alter column delta set default 0,
        add column reserved_delta bigint not null default 0`);
    await client.query(`
      alter table stock_movement
        add constraint stock_movement_delta_not_zero check (
          delta <> 0 or reserved_delta <> 0 or reason = 'RECOUNT'
        ) not valid,
        add constraint stock_movement_account_known check (
          case when order_id is null then reserved_delta = 0 else delta = 0 end
        ) not valid,
        add constraint stock_movement_inventory_fk
          foreign key (product_id) references inventory (product_id) not valid`);
    await client.query(COPY_PRODUCT);
    await client.query(CONVERT_MOVEMENT);
    await client.query(`
      create trigger inventory_copy_product after insert or update of stock_quantity, purchase_count on product
      for each row execute function inventory_copy_product()`);
    await client.query(`
      create trigger inventory_convert_movement before insert on stock_movement
      for each row when (new.order_id is not null and new.delta <> 0)
      execute function inventory_convert_movement()`);
  });
}

const COPY_PRODUCT = `
  create function inventory_copy_product() returns trigger language plpgsql as $$
  begin
    insert into inventory (product_id, on_hand) values (new.id, new.stock_quantity)
    on conflict (product_id) do update
    set on_hand = new.stock_quantity + inventory.reserved, version = inventory.version + 1;
    if new.purchase_count > 0 then
      insert into product_sales (product_id, purchase_count) values (new.id, new.purchase_count)
      on conflict (product_id) do update set purchase_count = new.purchase_count;
    else
      update product_sales set purchase_count = 0 where product_id = new.id;
    end if;
    return null;
  end $$`;

// An order inserts its movements after it has locked its products. The insert is not one with "on conflict", because a
// check of the table rejects the negative units of a cancellation even on conflict.
const CONVERT_MOVEMENT = `
  create function inventory_convert_movement() returns trigger language plpgsql as $$
  begin
    new.reserved_delta := -new.delta;
    new.delta := 0;
    update inventory
    set on_hand = on_hand + new.reserved_delta, reserved = reserved + new.reserved_delta, version = version + 1
    where product_id = new.product_id;
    if not found then
      insert into inventory (product_id, on_hand, reserved)
      select id, stock_quantity + new.reserved_delta, new.reserved_delta from product where id = new.product_id;
    end if;
    return new;
  end $$`;

/** Copies the products that no trigger has copied. */
async function copyProducts(session: OnlineSession): Promise<void> {
  // Not by "not exists", for which each batch would hash all rows that were copied before it.
  const isMissing = `(
    (select product_id from inventory where product_id = id) is null
    or purchase_count > 0 and (select product_id from product_sales where product_id = id) is null
  )`;
  await runInBatches(session, {
    name: "inventory",
    countRows: `select count(*) from product where ${isMissing}`,
    first: "00000000-0000-0000-0000-000000000000",
    async migrate(after): Promise<Batch<string> | undefined> {
      // The lock returns the latest version of the row. The triggers of its writer wait for the copy, or have made it.
      const { rows } = await session.client.query<{ rows: number; last: string | null }>(
        `with batch as materialized (
           select id, stock_quantity, purchase_count from product
           where id > $1 and ${isMissing} order by id limit $2 for no key update
         ), stock as (
           insert into inventory (product_id, on_hand) select id, stock_quantity from batch on conflict do nothing
         ), sales as (
           insert into product_sales (product_id, purchase_count)
           select id, purchase_count from batch where purchase_count > 0 on conflict do nothing
         )
         select count(*)::int as rows, (select id from batch order by id desc limit 1) as last from batch`,
        [after, BATCH_ROWS],
      );
      return batchOf(rows[0]);
    },
  });
}

/** Converts the movements of orders that removed units from the stock to ones that reserve them. */
async function convertMovements(session: OnlineSession): Promise<void> {
  const { client } = session;
  await runInBatches(session, {
    name: "stock movements of orders",
    countRows: "select count(*) from stock_movement where order_id is not null and delta <> 0",
    first: "0",
    async migrate(after): Promise<Batch<string> | undefined> {
      const { rows } = await client.query<{ id: string; product_id: string }>(
        `select id, product_id from stock_movement where id > $1 and order_id is not null and delta <> 0
         order by id limit $2`,
        [after, BATCH_ROWS],
      );
      await lockProducts(
        session,
        rows.map((row) => row.product_id),
      );
      await client.query(
        `with converted as (
           update stock_movement set reserved_delta = -delta, delta = 0 where id = any($1::bigint[])
           returning product_id, reserved_delta
         )
         update inventory set on_hand = on_hand + units, reserved = reserved + units, version = version + 1
         from (select product_id as id, sum(reserved_delta) as units from converted group by product_id) as moved
         where product_id = moved.id and units <> 0`,
        [rows.map(({ id }) => id)],
      );
      return batchOf({ rows: rows.length, last: rows.at(-1)?.id ?? null });
    },
  });
}

/**
 * Reserves exactly the units of pending orders where the ledger does not match them. The differences stay right while
 * orders are placed and cancelled, since these change both sides in one transaction.
 */
async function reserveOrders(session: OnlineSession): Promise<void> {
  const { client, log } = session;
  const { rows } = await client.query<{ id: string; units: string }>(`
    select product_id as id, coalesce(ordered.units, 0) - reserved as units
    from inventory left join (
      select product_id, sum(quantity) as units from order_item join orders on orders.id = order_id
      where state = 'PENDING' group by product_id
    ) as ordered using (product_id)
    where reserved <> coalesce(ordered.units, 0)`);
  if (rows.length === 0) return;
  log.warn({ products: rows.length }, "Ledger and orders differed, units of orders reserved");
  for (let from = 0; from < rows.length; from += BATCH_ROWS) {
    const batch = rows.slice(from, from + BATCH_ROWS);
    const ids = batch.map(({ id }) => id);
    await runBatch(session, "reserved units", async () => {
      await lockProducts(session, ids);
      await client.query(
        `update inventory set on_hand = on_hand + units, reserved = reserved + units, version = version + 1
         from unnest($1::uuid[], $2::bigint[]) as missing (id, units) where product_id = missing.id`,
        [ids, batch.map(({ units }) => units)],
      );
    });
  }
}

async function addConstraints(session: OnlineSession): Promise<void> {
  for (const [name, definition] of [
    ["inventory_on_hand_in_range", "check (on_hand between 0 and 4294967296)"],
    ["inventory_reserved_in_range", "check (reserved between 0 and on_hand)"],
  ] as const) {
    await addConstraint(session, { table: "inventory", name, definition });
  }
  // An order writes its items, then by a trigger the inventory, then its purchases.
  for (const [table, tables] of [
    ["order_item", ["order_item", "inventory"]],
    ["purchase", ["inventory", "purchase"]],
    ["purchase_total", ["inventory", "purchase_total"]],
  ] as const) {
    const definition = "foreign key (product_id) references inventory (product_id)";
    await addConstraint(session, { table, name: `${table}_inventory_fk`, definition, tables });
  }
  for (const name of [
    "stock_movement_delta_not_zero",
    "stock_movement_account_known",
    "stock_movement_inventory_fk",
  ]) {
    await session.client.query(`alter table stock_movement validate constraint ${name}`);
  }
}

/** Locks products in id order until the transaction ends, and with them their copies. */
async function lockProducts({ client }: OnlineSession, ids: readonly string[]): Promise<void> {
  await client.query("select from product where id = any($1::uuid[]) order by id for no key update", [ids]);
}

function batchOf(row: { rows: number; last: string | null } | undefined): Batch<string> | undefined {
  return row === undefined || row.last === null ? undefined : { rows: row.rows, last: row.last };
}
