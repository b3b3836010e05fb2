import { hash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  createCategorySlug,
  createRow,
  createRows,
  importRows,
} from "../../../support/import/import-rows.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { countDeadlocks } from "../../../support/stores/database-activity.ts";

const BATCH_ROWS = 1_000;
const BATCHES = 8;

let shop: TestShop;
let slug: string;
beforeAll(async () => {
  shop = await startShop();
  slug = await createCategorySlug(shop);
});
afterAll(() => shop.close());

/** Returns a word of letters only, a different one for each number. */
const wordOf = (number: number): string =>
  `tofu${[...String(number)].map((digit) => String.fromCodePoint(97 + Number(digit))).join("")}`;

test("concurrent batches that index the same words in different orders do not deadlock", async () => {
  const count = BATCH_ROWS * BATCHES;
  await importRows(shop, createRows(slug, "known-", count));
  // Half of the products are new, the others are renamed. No two batches have their words in the same order.
  const rows = Array.from({ length: count }, (_, index) => {
    const name = wordOf(Number.parseInt(hash("sha1", String(index)).slice(0, 8), 16) % (2 * BATCH_ROWS));
    return index % 2 === 0
      ? createRow(slug, `new-${index}`, { name })
      : createRow(slug, `known-${index + 1}`, { name });
  });
  const { createdCount, updatedCount, failedCount } = await importRows(shop, rows);
  expect({ createdCount, updatedCount, failedCount }).toEqual({
    createdCount: BigInt(count / 2),
    updatedCount: BigInt(count / 2),
    failedCount: 0n,
  });
  expect(await countDeadlocks(shop.database)).toBe(0);
});

test("the words indexed before the rows are written are all words that the trigger would index", async () => {
  await shop.database.query("alter table product disable trigger search_words_added");
  await importRows(shop, [
    createRow(slug, "X-1", { name: "Größe 12,5cm/e85b", description: "Çay №7 <b>kalın</b> a.b@c.de" }),
  ]);
  const words = "from product, unnest(search) where sku = 'X-1' and left(lexeme, 1) <> '#'";
  const missing = `select lexeme ${words} and search_word(lexeme) not in (select word from search_word)`;
  expect(await shop.database.query(missing)).toEqual([]);
});

test("renaming a product does not scan the table of words", async () => {
  await importRows(shop, [createRow(slug, "renamed")]);
  await shop.database.query(
    "insert into search_word (word) select 'tofu' || md5(one::text) from generate_series(1, 6000) as one",
  );
  const scans = () =>
    shop.database.query("select seq_scan from pg_stat_xact_user_tables where relname = 'search_word'");
  await shop.database.query("begin");
  const before = await scans();
  await shop.database.query("update product set name = 'Seitan' where sku = 'renamed'");
  expect(await scans()).toEqual(before);
  await shop.database.query("rollback");
});
