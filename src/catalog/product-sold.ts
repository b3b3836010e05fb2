import { type Database, prepared } from "../infra/postgres.ts";
import type { Call } from "../kernel/call.ts";
import { SOLD_ABOVE } from "./catalog.entity.ts";

/**
 * The best-selling products of a shop, in the text index of those above some popularity. They are a small part
 * of it, and the most popular of what matches are among them.
 */
export interface Sold {
  /** More popular than this. */
  above: number;
  /** How many there are. */
  products: number;
}

/** What is known of a shop's size. */
export interface ShopSize {
  products: number;
  sold: Sold;
  /** Ids of products, drawn by chance, as PostgreSQL writes arrays; of a shop that is not large, none. */
  sample: string;
}

/** An index of more of the shop's products than this share is not small. */
const SMALL = 0.01;
const KNOWN_FOR_MS = 60_000;
/** From so many products on a shop is large: it is looked at in part before it is looked at as a whole. */
export const LARGE = 100_000;
/**
 * How many products a sample has, and how many of them show that many match. Of 1,000 in a shop of a million, four
 * of 500 are met once in 500 times, whether they are sold or not, and wherever they lie.
 */
const SAMPLE = 500;
export const MANY_OF_SAMPLE = 4;

const READ_SIZE = prepared(`
  select reltuples as products, array[${SOLD_ABOVE.map(
    (above) => `(
      select count(*) from (
        select from product where popularity > ${above} limit greatest(0, reltuples * ${SMALL})::bigint + 1
      ) as sold
    )`,
  ).join(", ")}]::int[] as sold
  from pg_class where oid = 'product'::regclass`);

// One of a page of the table: neighbours have come together, and have words in common.
const READ_SAMPLE = prepared(`
  select coalesce(array_agg(id), '{}')::text as sample from (
    select id from (
      select distinct on ((ctid::text::point)[0]) id
      from product tablesample system ((
        select least(100, 150.0 * ${SAMPLE} / greatest(1, relpages)) from pg_class where oid = 'product'::regclass
      )) where active
    ) as apart order by random() limit ${SAMPLE}
  ) as drawn`);

/** Tells a shop's size as it was a minute ago at most: it decides only by what way products are found. */
export function createShopSize(db: Database): (call: Call) => Promise<ShopSize> {
  let known: ShopSize | undefined;
  let until = 0;
  return async (call) => {
    const now = performance.now();
    if (known !== undefined && now < until) return known;
    // Others go on with what is known meanwhile.
    until = now + KNOWN_FOR_MS;
    const [row] = await db.read<{ products: number; sold: number[] }>(call, READ_SIZE, []);
    const products = Math.max(0, row?.products ?? 0);
    const sizes = SOLD_ABOVE.map((above, at) => ({ above, products: row?.sold[at] ?? 0 }));
    const sold = sizes.find((one) => one.products <= products * SMALL) ?? { above: 32_767, products: 0 };
    const [drawn] = products < LARGE ? [] : await db.read<{ sample: string }>(call, READ_SAMPLE, []);
    known = { products, sold, sample: drawn?.sample ?? "{}" };
    return known;
  };
}
