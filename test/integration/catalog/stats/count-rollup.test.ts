import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listBrands } from "../../../../src/catalog/brand/brand.ts";
import { createCategories } from "../../../../src/catalog/category/category.ts";
import { readCatalogStats } from "../../../../src/catalog/stats/catalog-stats.ts";
import { rollUpCounts } from "../../../../src/catalog/stats/count-rollup.ts";
import { entities } from "../../../../src/entities.ts";
import { type Database, openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { systemClock } from "../../../../src/kernel/clock.ts";
import { createIds } from "../../../../src/kernel/ids.ts";
import { createPageTokens } from "../../../../src/kernel/page.ts";
import { countFromProducts, toCounts } from "../../../support/catalog/counts.ts";
import { silentLog } from "../../../support/log.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";
import { findFailedChecks } from "../../../support/stores/invariants.ts";

const call = internalCall();
const firstPage = { pageSize: 100, pageToken: "" };

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await createTestDatabase();
  const limits = { poolMax: 8, poolWaitMs: 5_000, statementTimeoutMs: 10_000 };
  db = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
  await database.query(`
    insert into category (id, slug, name, created_at, updated_at)
    select ${idOf("n")}, 'c' || n, 'Category ' || n % 7, now(), now() from generate_series(1, 9) n`);
  await database.query(
    "insert into brand (name, created_at) select 'Brand ' || n, now() from generate_series(1, 130) n",
  );
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

/** Returns the SQL of the id of the nth row. */
function idOf(n: string): string {
  return `('00000000-0000-7000-8000-' || lpad(to_hex(${n}), 12, '0'))::uuid`;
}

/** Returns the SQL of a number from 0 to `below` - 1 that depends on the row and the salt alone. */
const mix = (salt: number, below: string) =>
  `(hashint8extended(n, ${salt}) & 9223372036854775807) % ${below}`;

/** A change of many products. */
interface Step {
  /** A key of the statements in statementOf. */
  kind: string;
  /** The inverse of the share of products that are changed. */
  part: number;
  salt: number;
}

/** Returns column values: many prices are equal or close, and few are far from the others. */
const values = (salt: number) => ({
  categoryId: idOf(`(1 + ${mix(salt + 1, "8")})`),
  brand: `case ${mix(salt + 2, "5")} when 0 then '' else 'Brand ' || 1 + ${mix(salt + 3, "125")} end`,
  currency: `(array['EUR', 'EUR', 'EUR', 'JPY', 'CHF'])[1 + ${mix(salt + 4, "5")}]`,
  price: `${mix(salt + 5, `(array[2, 30, 700, 20000, 1000000000000001])[1 + ${mix(salt + 6, "5")}]`)}`,
  stock: `case ${mix(salt + 7, "4")} when 0 then 0 when 1 then ${mix(salt + 8, "15")} else ${mix(salt + 9, "300")} end`,
});

function statementOf({ kind, part, salt }: Step): string {
  const { categoryId, brand, currency, price, stock } = values(salt);
  const some = `from (select id as row_id, substr(sku, 2)::bigint as n from product) as row
    where id = row_id and ${mix(salt, String(part))} = 0`;
  const set = (change: string) => `update product set ${change} ${some}`;
  const steps: Record<string, string> = {
    add: `
      with item as materialized (
        select n, ${stock} as stock from generate_series(${salt * 100}, ${salt * 100 + 300}) n
      ), added as (
        insert into product (id, sku, name, description, category_id, brand, currency, price_minor, in_stock,
          image_uri, attributes, created_at, updated_at)
        select ${idOf("n")}, 'S' || n, 'P', '', ${categoryId}, ${brand}, ${currency}, ${price}, stock > 0, '', '{}', now(), now()
        from item on conflict do nothing returning id
      )
      insert into inventory (product_id, on_hand) select id, stock from item join added on id = ${idOf("n")}`,
    undelete: set("deleted_at = null"),
    "delete softly": set("deleted_at = now()"),
    price: set(`price_minor = ${price}`),
    "price a little": set("price_minor = least(price_minor + 1, 1000000000000000)"),
    "price and currency": set(`price_minor = ${price}, currency = ${currency}`),
    move: set(`category_id = ${categoryId}`),
    "rename brand": set(`brand = ${brand}`),
    stock: `with changed as (
        update inventory set on_hand = ${stock} ${some.replace("id = row_id", "product_id = row_id")} returning product_id, on_hand
      ) update product set in_stock = on_hand > 0 from changed where id = product_id`,
    remove: `with removed as (delete from inventory using ${some.slice(5).replace("id = row_id", "product_id = row_id")} returning product_id)
      delete from product using removed where id = product_id`,
  };
  return steps[kind] ?? "";
}

const step = fc.record({
  kind: fc.constantFrom(
    "add",
    "add",
    "undelete",
    "delete softly",
    "price",
    "price a little",
    "price and currency",
    "move",
    "rename brand",
    "stock",
    "remove",
    "roll up",
  ),
  part: fc.constantFrom(1, 2, 3, 10),
  salt: fc.nat({ max: 40 }),
});

/** Returns the names of the checks that fail. Those of stock always do, since these products have no ledger. */
async function failedChecks(): Promise<string[]> {
  return (await findFailedChecks(database.query)).map(({ name }) => name);
}

/** Compares the statistics and the counts in lists with a count of the products. */
async function expectExactCounts(threshold: bigint): Promise<void> {
  const expected = await countFromProducts(database, threshold);
  expect(toCounts(await readCatalogStats(db, call, threshold))).toEqual(expected);
  const tokens = createPageTokens(Buffer.alloc(32), systemClock);
  const options = { db, tokens, clock: systemClock, ids: createIds() };
  const { items } = await createCategories(options).list(call, { ...firstPage, parentId: "" });
  const counted = items.filter(({ productCount }) => productCount > 0n);
  const categories = expected.categories.map((entry) => Array.isArray(entry) && `${entry[0]} ${entry[2]}`);
  expect(counted.map(({ id, productCount }) => `${id} ${productCount}`).sort()).toEqual(categories.sort());
  const brands = await database.query<{ name: string; count: string }>(
    "select brand as name, count(*) as count from product where active and brand <> '' group by 1 order by 1 limit 100",
  );
  const page = await listBrands(options, call, firstPage);
  expect(page.items).toEqual(brands.map(({ name, count }) => ({ name, productCount: BigInt(count) })));
}

test("counts and medians equal those of the products after any sequence of changes and rollups", async () => {
  const history = fc.tuple(
    fc.array(step, { minLength: 3, maxLength: 12 }),
    fc.constantFrom(1n, 10n, 100n, 101n),
  );
  await fc.assert(
    fc.asyncProperty(history, async ([steps, threshold]) => {
      await database.query("truncate product, product_count, product_count_delta cascade");
      await database.query(statementOf({ kind: "add", part: 1, salt: 0 }));
      for (const step of steps) {
        if (step.kind === "roll up") await rollUpCounts(db, call);
        else await database.query(statementOf(step));
      }
      await expectExactCounts(threshold);
    }),
    { numRuns: 40 },
  );
}, 120_000);

test.each([
  ["product_count_added", "add"],
  ["product_count_changed", "price and currency"],
  ["product_count_removed", "remove"],
])("without trigger %s the counts are wrong, which invariant I9 detects", async (trigger, kind) => {
  await database.query("truncate product, product_count, product_count_delta cascade");
  await database.query(statementOf({ kind: "add", part: 1, salt: 0 }));
  await database.query(`alter table product disable trigger ${trigger}`);
  await database.query(statementOf({ kind, part: 2, salt: 9 }));
  await database.query(`alter table product enable trigger ${trigger}`);
  expect(await failedChecks()).toContain("product-counts");
  await expect(expectExactCounts(10n)).rejects.toThrow();
});

test("a rollup returns immediately while another one runs", async () => {
  await database.query("truncate product, product_count, product_count_delta cascade");
  await database.query(statementOf({ kind: "add", part: 1, salt: 0 }));
  await database.query("begin; select pg_advisory_xact_lock(0x666f6c64)");
  await rollUpCounts(db, call);
  await database.query("commit");
  expect(await database.query("select from product_count")).toEqual([]);
  await rollUpCounts(db, call);
  await expectExactCounts(10n);
});

test("concurrent rollups and writers lose no delta and leave no empty rows", async () => {
  await database.query("truncate product, product_count, product_count_delta cascade");
  await database.query(statementOf({ kind: "add", part: 1, salt: 0 }));
  let isWriting = true;
  let rollups = 0;
  const rollUpRepeatedly = async () => {
    for (; isWriting; rollups += 1) await rollUpCounts(db, call);
  };
  const running = [rollUpRepeatedly(), rollUpRepeatedly(), rollUpRepeatedly()];
  const kinds = ["price and currency", "move", "stock", "delete softly", "rename brand", "undelete"];
  for (let salt = 1; salt <= 30 || rollups <= 30; salt += 1) {
    await database.query(statementOf({ kind: kinds[salt % 6] ?? "", part: 2, salt }));
  }
  isWriting = false;
  await Promise.all(running);
  await rollUpCounts(db, call);
  await database.query("select pg_stat_force_next_flush()");
  const [activity] = await database.query<{ deadlocks: string }>(
    "select deadlocks from pg_stat_database where datname = current_database()",
  );
  expect(activity).toEqual({ deadlocks: "0" });
  expect(await database.query("select from product_count_delta")).toEqual([]);
  await expectExactCounts(10n);
  expect(await failedChecks()).not.toContain("product-counts");
  await database.query("update product set deleted_at = now()");
  await rollUpCounts(db, call);
  expect(await database.query("select * from product_count")).toEqual([]);
}, 60_000);
