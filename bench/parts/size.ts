import { type EncodedRequest, openGrpcClient } from "../harness/grpc-client.ts";
import { createRandom, formatNumber, pick } from "../harness/numbers.ts";
import { comparePaired, type Side } from "../harness/paired-latency.ts";
import { Goals, type Part } from "../harness/part.ts";
import { CATEGORIES, listRequest, productByIdRequest, productBySkuRequest } from "../workload/requests.ts";

const ROUNDS = 1_000;
/** The maximum ratio of latencies for a hundred times as many products. */
const GOAL = 1.2;

/** A read with its next request to a shop of a number of products. */
interface Read {
  what: string;
  next(products: number, random: () => number): EncodedRequest;
}

const anyNumber = (products: number, random: () => number) => 1 + Math.floor(random() * products);

const READS: readonly Read[] = [
  { what: "product by id", next: (products, random) => productByIdRequest(anyNumber(products, random)) },
  { what: "product by sku", next: (products, random) => productBySkuRequest(anyNumber(products, random)) },
  ...["", "price", "name", "create_time desc", "popularity desc", "rating desc"].map((orderBy) => ({
    what: `list by ${orderBy || "id"}`,
    next: () => listRequest({ orderBy }),
  })),
  ...["", "price", "popularity desc"].map((orderBy) => ({
    what: `list of a category by ${orderBy || "id"}`,
    next: (_: number, random: () => number) =>
      listRequest({ categoryId: pick(CATEGORIES, random).id, orderBy }),
  })),
];

/** Compares the latency of reads in the large shop with the small one. */
export const size: Part = async ({ products, smallProducts, uncached, small }) => {
  const [largeClient, smallClient] = [
    openGrpcClient((await uncached()).url, 1),
    openGrpcClient((await small()).url, 1),
  ];
  const goals = new Goals();
  const rows = [
    ["read", `${formatNumber(smallProducts)} ms`, `${formatNumber(products)} ms`, "ratio", "goal"],
  ];
  try {
    for (const { what, next } of READS) {
      console.log(`${what} ...`);
      // The same seed gives both shops the same categories and relative positions.
      const side = (client: Side["client"], count: number): Side => {
        const random = createRandom(1);
        return { client, next: () => next(count, random) };
      };
      const { ms, otherMs } = await comparePaired(
        side(smallClient, smallProducts),
        side(largeClient, products),
        ROUNDS,
      );
      const ratio = otherMs / ms;
      rows.push([what, ms.toFixed(3), otherMs.toFixed(3), ratio.toFixed(2), goals.atMost(what, ratio, GOAL)]);
    }
  } finally {
    for (const client of [largeClient, smallClient]) client.close();
  }
  const title = "A large shop against a small one";
  const notes = `${formatNumber(products)} products against ${formatNumber(smallProducts)}, cache off; over gRPC, medians of ${formatNumber(ROUNDS)} calls each, alternating one at a time; lists of 20, products and categories at random.`;
  return { title, notes, rows, missed: goals.missed };
};
