import { parseArgs } from "node:util";
import { StartupError } from "../src/kernel/errors.ts";
import type { Part } from "./harness/part.ts";
import { publishResults } from "./harness/results.ts";
import { parseInteger, readOptions, runBench } from "./harness/run-bench.ts";
import { createShops } from "./harness/shops.ts";
import { access } from "./parts/access.ts";
import { attacks } from "./parts/attacks.ts";
import { cache } from "./parts/cache.ts";
import { imports } from "./parts/import.ts";
import { orders, stockLock } from "./parts/orders.ts";
import { overload } from "./parts/overload.ts";
import { pages } from "./parts/pages.ts";
import { payments } from "./parts/payments.ts";
import { reads } from "./parts/reads.ts";
import { search } from "./parts/search.ts";
import { size } from "./parts/size.ts";
import { watch } from "./parts/watch.ts";
import { writes } from "./parts/writes.ts";

/** The parts in the order in which they run. Imports come last, because they change the shop. */
const PARTS: ReadonlyMap<string, Part> = new Map([
  ["reads", reads],
  ["pages", pages],
  ["size", size],
  ["search", search],
  ["cache", cache],
  ["writes", writes],
  ["orders", orders],
  ["payments", payments],
  ["stock-lock", stockLock],
  ["watch", watch],
  ["access", access],
  ["overload", overload],
  ["attacks", attacks],
  ["import", imports],
]);
const PRODUCTS = 1_000_000;
const MIN_PRODUCTS = 4_000;
const USAGE = `Usage: npm run bench -- [${[...PARTS.keys()].join(" | ")}]... [--products ${PRODUCTS}]
  Runs these parts, or all. Only the results of the full size are written to bench/RESULTS.md. The parts orders,
  payments and stock-lock use 20,000 products at most; orders needs pgbench. docs/performance.md has what the parts measure.`;

/** Returns undefined for --help, which prints the usage. */
function readArguments(): { names: string[]; products: number } | undefined {
  return readOptions(USAGE, () => {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        products: { type: "string", default: String(PRODUCTS) },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) {
      console.log(USAGE);
      return undefined;
    }
    const unknown = positionals.find((name) => !PARTS.has(name));
    if (unknown !== undefined) throw new StartupError(`Unknown part "${unknown}".`);
    return {
      names: [...PARTS.keys()].filter((name) => positionals.length === 0 || positionals.includes(name)),
      products: parseInteger("products", values.products, MIN_PRODUCTS, 2_000_000),
    };
  });
}

await runBench(async () => {
  const options = readArguments();
  if (options === undefined) return;
  const { names, products } = options;
  const shops = createShops(products);
  const missed: string[] = [];
  try {
    for (const name of names) {
      try {
        for (const measured of [(await PARTS.get(name)?.(shops)) ?? []].flat()) {
          const stores = measured.stores ?? (await shops.uncached()).stores;
          await publishResults({ ...measured, stores, write: products === PRODUCTS });
          missed.push(...measured.missed);
        }
      } catch (error) {
        // The other parts still run.
        console.error(error);
        missed.push(`${name} failed: ${error instanceof Error ? error.message : error}`);
      }
    }
  } finally {
    await shops.close();
  }
  if (missed.length > 0)
    throw new StartupError(`Missed goals:\n${missed.map((one) => `  ${one}`).join("\n")}`);
});
