import { afterEach, beforeEach, expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { migrate } from "../../../../src/infra/postgres/migrate.ts";
import { silentLog } from "../../../support/log.ts";
import { migrateToFormer } from "../../../support/migration/former-database.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";

const CATEGORY = "00000000-0000-0000-0000-000000000001";

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase("template1");
  await migrateToFormer(database.url, "migration-20261129100000-stock-fence");
  await database.query(
    "insert into category (id, slug, name, created_at, updated_at) values ($1, 'all', 'All', now(), now())",
    [CATEGORY],
  );
});
afterEach(() => database.drop());

/** Writes a product as the version before the migration does. */
async function writeFormerProduct(sku: string): Promise<void> {
  await database.query(
    `with added as (
       insert into product (id, sku, name, description, category_id, brand, currency, price_minor, in_stock, image_uri,
         attributes, version, created_at, updated_at)
       values (gen_random_uuid(), $1, 'Product', '', $2, '', 'EUR', 100, true, '', '{}', 1, now(), now()) returning id
     )
     insert into inventory (product_id, on_hand) select id, 5 from added`,
    [sku, CATEGORY],
  );
}

const readFiles = async () => {
  const [row] = await database.query<{ product: string; search: string }>(
    "select pg_relation_filenode('product') as product, pg_relation_filenode('product_search') as search",
  );
  return row;
};

test("products of the previous version have the standard tax class and no weight, and no row is rewritten", async () => {
  await writeFormerProduct("before");
  const before = { files: await readFiles(), rows: await database.query("select ctid, xmin from product") };
  await migrate(database.url, entities, silentLog);
  expect({ files: await readFiles(), rows: await database.query("select ctid, xmin from product") }).toEqual(
    before,
  );
  await writeFormerProduct("after");
  expect(await database.query("select sku, tax_class, weight_grams from product order by sku desc")).toEqual([
    { sku: "before", tax_class: "", weight_grams: "0" },
    { sku: "after", tax_class: "", weight_grams: "0" },
  ]);
});

test("the previous version changes a product and keeps its tax class and weight", async () => {
  await writeFormerProduct("book");
  await migrate(database.url, entities, silentLog);
  await database.query("update product set tax_class = 'reduced', weight_grams = 450");
  await database.query("update product set name = 'Book', version = version + 1, updated_at = now()");
  expect(await database.query("select name, tax_class, weight_grams from product")).toEqual([
    { name: "Book", tax_class: "reduced", weight_grams: "450" },
  ]);
});

test("constraints reject values that the contract rejects", async () => {
  await writeFormerProduct("book");
  await migrate(database.url, entities, silentLog);
  for (const [constraint, change] of [
    ["product_tax_class_valid", "tax_class = 'Reduced'"],
    ["product_tax_class_valid", "tax_class = repeat('x', 33)"],
    ["product_weight_in_range", "weight_grams = -1"],
    ["product_weight_in_range", "weight_grams = 1000000001"],
  ]) {
    await expect(database.query(`update product set ${change}`), change).rejects.toMatchObject({
      constraint,
    });
  }
});

test("no index, trigger or generated column depends on the tax class and the weight", async () => {
  await migrate(database.url, entities, silentLog);
  const readDependents = () =>
    database.query(`
      select attname, pg_describe_object(classid, objid, objsubid) as object
      from pg_depend
        join pg_attribute on attrelid = refobjid and attnum = refobjsubid
        left join pg_attrdef on classid = 'pg_attrdef'::regclass and pg_attrdef.oid = objid
      where refobjid = 'product'::regclass and attname in ('tax_class', 'weight_grams')
        and classid <> 'pg_constraint'::regclass and adnum is distinct from refobjsubid`);
  expect(await readDependents()).toEqual([]);
  await database.query("create index product_weight on product (weight_grams)");
  expect(await readDependents()).toEqual([{ attname: "weight_grams", object: "index product_weight" }]);
});
