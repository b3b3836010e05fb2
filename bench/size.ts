import { createRandom, format, pick } from "./numbers.ts";
import { Goals, type Part } from "./part.ts";
import { CATEGORIES, listOf, productById, productBySku } from "./requests.ts";
import { compare, type Side } from "./turns.ts";
import { openWire, type WireRequest } from "./wire.ts";

const ROUNDS = 1_000;
/** A hundred times as many products may cost at most so many times as much. */
const GOAL = 1.2;

/** A read, and its next request to a shop of so many products. */
interface Read {
  what: string;
  next(products: number, random: () => number): WireRequest;
}

const anyNumber = (products: number, random: () => number) => 1 + Math.floor(random() * products);

const READS: readonly Read[] = [
  { what: "product by id", next: (products, random) => productById(anyNumber(products, random)) },
  { what: "product by sku", next: (products, random) => productBySku(anyNumber(products, random)) },
  ...["", "price", "name", "create_time desc", "popularity desc", "rating desc"].map((orderBy) => ({
    what: `list by ${orderBy || "id"}`,
    next: () => listOf({ orderBy }),
  })),
  ...["", "price", "popularity desc"].map((orderBy) => ({
    what: `list of a category by ${orderBy || "id"}`,
    next: (_: number, random: () => number) => listOf({ categoryId: pick(CATEGORIES, random).id, orderBy }),
  })),
];

/** What reads cost in the large shop, against the small one. */
export const size: Part = async ({ products, smallProducts, plain, small }) => {
  const [largeWire, smallWire] = [openWire((await plain()).url, 1), openWire((await small()).url, 1)];
  const goals = new Goals();
  const rows = [["read", `${format(smallProducts)} ms`, `${format(products)} ms`, "ratio", "goal"]];
  try {
    for (const { what, next } of READS) {
      console.log(`${what} ...`);
      // Each shop is asked for the same: the n-th category, a product at the same place.
      const side = (wire: Side["wire"], count: number): Side => {
        const random = createRandom(1);
        return { wire, next: () => next(count, random) };
      };
      const { ms, otherMs } = await compare(
        side(smallWire, smallProducts),
        side(largeWire, products),
        ROUNDS,
      );
      const ratio = otherMs / ms;
      rows.push([what, ms.toFixed(3), otherMs.toFixed(3), ratio.toFixed(2), goals.most(what, ratio, GOAL)]);
    }
  } finally {
    for (const wire of [largeWire, smallWire]) wire.close();
  }
  const title = "A large shop against a small one";
  const notes = `${format(products)} products against ${format(smallProducts)}, cache off; over gRPC, medians of ${format(ROUNDS)} calls each, one at a time and in turn; lists of 20, products and categories at random.`;
  return { title, notes, rows, missed: goals.missed };
};
