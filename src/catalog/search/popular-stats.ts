import { type Database, prepared } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { POPULARITY_STEPS } from "../product/product.entity.ts";

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
}

/** From so many products on a shop is large: it is looked at in part before it is looked at as a whole. */
export const LARGE = 100_000;
/**
 * So many in the sample, which is one in 128 products, show that more than 1,000 match: of 1,000 there are 8, and 19
 * of them once in 2,000 searches, whether they sell or not, and whenever they came.
 */
export const MANY_OF_SAMPLE = 19;
/** An index of more of the shop's products than this share is not small. */
const SMALL = 0.01;
const KNOWN_FOR_MS = 60_000;

const READ_SIZE = prepared(`
  select reltuples as products, array[${POPULARITY_STEPS.map(
    (above) => `(
      select count(*) from (
        select from product where popularity > ${above} limit greatest(0, reltuples * ${SMALL})::bigint + 1
      ) as sold
    )`,
  ).join(", ")}]::int[] as sold
  from pg_class where oid = 'product'::regclass`);

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
    const sizes = POPULARITY_STEPS.map((above, at) => ({ above, products: row?.sold[at] ?? 0 }));
    const sold = sizes.find((one) => one.products <= products * SMALL) ?? { above: 32_767, products: 0 };
    known = { products, sold };
    return known;
  };
}
