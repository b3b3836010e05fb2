import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";

/**
 * The lowest and highest price and name among the products with a frequent word, deleted ones too. Triggers of the
 * product table widen a range and never narrow it, so that no product with the word is outside of it. A list of search
 * results sorted by price or name begins at the range instead of at the first product of the shop.
 */
export const WordRangeEntity = defineEntity({
  name: "WordRange",
  tableName: "search_word_range",
  properties: {
    word: p.text().primary(),
    /** Null until the first product widens the range. */
    minPrice: p.bigint("bigint").nullable(),
    maxPrice: p.bigint("bigint").nullable(),
    minName: p.text().nullable(),
    maxName: p.text().nullable(),
    /** Transaction that inserted the row. It tells the row from an earlier one of the same word. */
    insertedBy: p.string().columnType("xid8").defaultRaw("pg_current_xact_id()"),
    /** Time since when the range also contains the products that are older than the row; null before. */
    completedAt: timestamp().nullable(),
  },
});
