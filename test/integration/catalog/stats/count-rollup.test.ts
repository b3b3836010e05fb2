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
import { createTestDatabase, type TestDatabase } from "../../../support/database.ts";
import { type Breach, invariantsQuery } from "../../../support/invariants.ts";
import { silentLog } from "../../../support/log.ts";

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

/** The id of the nth row, in SQL. */
function idOf(n: string): string {
  return `('00000000-0000-7000-8000-' || lpad(to_hex(${n}), 12, '0'))::uuid`;
}

/** A number from 0 to `below` - 1 that depends on the row and the step alone, in SQL. */
const mix = (salt: number, below: string) =>
  `(hashint8extended(n, ${salt}) & 9223372036854775807) % ${below}`;

/** A step of the shop's life. */
interface Step {
  what: string;
  /** One row in so many. */
  part: number;
  salt: number;
}

/** Values of columns: many prices are equal or near, and few are far from all others. */
const values = (salt: number) => ({
  categoryId: idOf(`(1 + ${mix(salt + 1, "8")})`),
  brand: `case ${mix(salt + 2, "5")} when 0 then '' else 'Brand ' || 1 + ${mix(salt + 3, "125")} end`,
  currency: `(array['EUR', 'EUR', 'EUR', 'JPY', 'CHF'])[1 + ${mix(salt + 4, "5")}]`,
  price: `${mix(salt + 5, `(array[2, 30, 700, 20000, 1000000000000001])[1 + ${mix(salt + 6, "5")}]`)}`,
  stock: `case ${mix(salt + 7, "4")} when 0 then 0 when 1 then ${mix(salt + 8, "15")} else ${mix(salt + 9, "300")} end`,
});

function statementOf({ what, part, salt }: Step): string {
  const { categoryId, brand, currency, price, stock } = values(salt);
  const some = `from (select id as row_id, substr(sku, 2)::bigint as n from product) as row
    where id = row_id and ${mix(salt, String(part))} = 0`;
  const set = (change: string) => `update product set ${change} ${some}`;
  const steps: Record<string, string> = {
    add: `
      insert into product (id, sku, name, description, category_id, brand, currency, price_minor, stock_quantity,
        image_uri, attributes, created_at, updated_at)
      select ${idOf("n")}, 'S' || n, 'P', '', ${categoryId}, ${brand}, ${currency}, ${price}, ${stock}, '', '{}', now(), now()
      from generate_series(${salt * 100}, ${salt * 100 + 300}) n on conflict do nothing`,
    sell: set("deleted_at = null"),
    withdraw: set("deleted_at = now()"),
    price: set(`price_minor = ${price}`),
    "price a little": set("price_minor = least(price_minor + 1, 1000000000000000)"),
    "price and currency": set(`price_minor = ${price}, currency = ${currency}`),
    move: set(`category_id = ${categoryId}`),
    rename: set(`brand = ${brand}`),
    stock: set(`stock_quantity = ${stock}`),
    remove: `delete from product using ${some.slice(5)}`,
  };
  return steps[what] ?? "";
}

const step = fc.record({
  what: fc.constantFrom(
    ...["add", "add", "sell", "withdraw", "price", "price a little", "price and currency"],
    ...["move", "rename", "stock", "remove", "fold"],
  ),
  part: fc.constantFrom(1, 2, 3, 10),
  salt: fc.nat({ max: 40 }),
});

/** The invariants that are broken. I1 is always: these products have no ledger. */
async function breaches(): Promise<string[]> {
  const rows = await database.query<Breach>(invariantsQuery.replace(/ limit \d+/, ""));
  return [...new Set(rows.map(({ invariant }) => invariant))];
}

/** Both ways to count, and the counts that lists show. */
async function expectCounted(threshold: bigint): Promise<void> {
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

test("counts, medians and all are those of the products, whatever has happened to them", async () => {
  const life = fc.tuple(
    fc.array(step, { minLength: 3, maxLength: 12 }),
    fc.constantFrom(1n, 10n, 100n, 101n),
  );
  await fc.assert(
    fc.asyncProperty(life, async ([steps, threshold]) => {
      await database.query("truncate product, product_count, product_count_delta cascade");
      await database.query(statementOf({ what: "add", part: 1, salt: 0 }));
      for (const { what, ...how } of steps) {
        if (what === "fold") await rollUpCounts(db, call);
        else await database.query(statementOf({ what, ...how }));
      }
      await expectCounted(threshold);
    }),
    { numRuns: 40 },
  );
}, 120_000);

test.each([
  ["product_count_added", "add"],
  ["product_count_changed", "price and currency"],
  ["product_count_removed", "remove"],
])("without trigger %s the counts would be wrong, and I9 broken", async (trigger, what) => {
  await database.query("truncate product, product_count, product_count_delta cascade");
  await database.query(statementOf({ what: "add", part: 1, salt: 0 }));
  await database.query(`alter table product disable trigger ${trigger}`);
  await database.query(statementOf({ what, part: 2, salt: 9 }));
  await database.query(`alter table product enable trigger ${trigger}`);
  expect(await breaches()).toContain("I9");
  await expect(expectCounted(10n)).rejects.toThrow();
});

test("a fold leaves the work to another one that is at it", async () => {
  await database.query("truncate product, product_count, product_count_delta cascade");
  await database.query(statementOf({ what: "add", part: 1, salt: 0 }));
  await database.query("begin; select pg_advisory_xact_lock(0x666f6c64)");
  await rollUpCounts(db, call);
  await database.query("commit");
  expect(await database.query("select from product_count")).toEqual([]);
  await rollUpCounts(db, call);
  await expectCounted(10n);
});

test("folds beside writers and beside each other lose nothing, and leave no empty rows", async () => {
  await database.query("truncate product, product_count, product_count_delta cascade");
  await database.query(statementOf({ what: "add", part: 1, salt: 0 }));
  let writing = true;
  let [folds, largest] = [0, 0];
  const folder = async () => {
    for (; writing; folds += 1) await rollUpCounts(db, call);
  };
  const folders = [folder(), folder(), folder()];
  for (let salt = 1; salt <= 30; salt += 1) {
    const whats = ["price and currency", "move", "stock", "withdraw", "rename", "sell"];
    await database.query(statementOf({ what: whats[salt % 6] ?? "", part: 2, salt }));
    largest = Math.max(largest, folds);
  }
  writing = false;
  await Promise.all(folders);
  expect(largest).toBeGreaterThan(30);
  await rollUpCounts(db, call);
  await database.query("select pg_stat_force_next_flush()");
  const [waits] = await database.query<{ deadlocks: string }>(
    "select deadlocks from pg_stat_database where datname = current_database()",
  );
  expect(waits).toEqual({ deadlocks: "0" });
  expect(await database.query("select from product_count_delta")).toEqual([]);
  await expectCounted(10n);
  expect(await breaches()).not.toContain("I9");
  await database.query("update product set deleted_at = now()");
  await rollUpCounts(db, call);
  expect(await database.query("select * from product_count")).toEqual([]);
}, 60_000);
