import { hash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  createCategorySlug,
  createRow,
  createRows,
  importRows,
} from "../../../support/import/import-rows.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

/** Rows of a batch, and batches. */
const [BATCH, BATCHES] = [1_000, 8];

let shop: TestShop;
let slug: string;
beforeAll(async () => {
  shop = await startShop();
  slug = await createCategorySlug(shop);
});
afterAll(() => shop.close());

const deadlocks = async (): Promise<number> => {
  const [counted] = await shop.database.query<{ deadlocks: string }>(
    "select deadlocks from pg_stat_database where datname = current_database()",
  );
  return Number(counted?.deadlocks);
};

/** A word in letters only, of so many different ones. */
const wordOf = (number: number): string =>
  `tofu${[...String(number)].map((digit) => String.fromCodePoint(97 + Number(digit))).join("")}`;

test("batches that learn the same words, each in its own order, do not wait in a circle", async () => {
  const count = BATCH * BATCHES;
  await importRows(shop, createRows(slug, "learnt-", count));
  // Every other one is new, and the rest get other names; no two batches have all of their words in one order.
  const rows = Array.from({ length: count }, (_, index) => {
    const name = wordOf(Number.parseInt(hash("sha1", String(index)).slice(0, 8), 16) % (2 * BATCH));
    return index % 2 === 0
      ? createRow(slug, `fresh-${index}`, { name })
      : createRow(slug, `learnt-${index + 1}`, { name });
  });
  const before = await deadlocks();
  const { createdCount, updatedCount, failedCount } = await importRows(shop, rows);
  expect({ createdCount, updatedCount, failedCount }).toEqual({
    createdCount: BigInt(count / 2),
    updatedCount: BigInt(count / 2),
    failedCount: 0n,
  });
  expect((await deadlocks()) - before).toBe(0);
});

test("what is learnt before the rows are written is all that the trigger would learn of them", async () => {
  await shop.database.query("alter table product disable trigger search_words_added");
  await importRows(shop, [
    createRow(slug, "X-1", { name: "Größe 12,5cm/e85b", description: "Çay №7 <b>kalın</b> a.b@c.de" }),
  ]);
  const words = "from product, unnest(search) where sku = 'X-1' and left(lexeme, 1) <> '#'";
  const missed = `select lexeme ${words} and search_word(lexeme) not in (select word from search_word)`;
  expect(await shop.database.query(missed)).toEqual([]);
});

test("who renames a product does not read all words to see which of them are new", async () => {
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
