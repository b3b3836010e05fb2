import { parseArgs } from "node:util";
import { StartupError } from "../src/kernel/errors.ts";
import { access } from "./access.ts";
import { cache } from "./cache.ts";
import { imports } from "./import.ts";
import { overload } from "./overload.ts";
import { pages } from "./pages.ts";
import type { Part } from "./part.ts";
import { reads } from "./reads.ts";
import { publish } from "./results.ts";
import { readOptions, runBench, whole } from "./run.ts";
import { search } from "./search.ts";
import { size } from "./size.ts";
import { createStage } from "./stage.ts";

/** In the order in which they run: imports come last, since they change the shop. */
const PARTS: ReadonlyMap<string, Part> = new Map([
  ["reads", reads],
  ["pages", pages],
  ["size", size],
  ["search", search],
  ["cache", cache],
  ["access", access],
  ["overload", overload],
  ["import", imports],
]);
const PRODUCTS = 1_000_000;
const FEWEST_PRODUCTS = 4_000;
const USAGE = `Usage: npm run bench -- [${[...PARTS.keys()].join(" | ")}]... [--products ${PRODUCTS}]
  Runs these parts, or all. Only the results of the full size are written to bench/RESULTS.md.`;

function readArguments(): { names: string[]; products: number } {
  return readOptions(USAGE, () => {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { products: { type: "string", default: String(PRODUCTS) } },
    });
    const unknown = positionals.find((name) => !PARTS.has(name));
    if (unknown !== undefined) throw new StartupError(`There is no part "${unknown}".`);
    return {
      names: [...PARTS.keys()].filter((name) => positionals.length === 0 || positionals.includes(name)),
      products: whole("products", values.products, FEWEST_PRODUCTS, 2_000_000),
    };
  });
}

await runBench(async () => {
  const { names, products } = readArguments();
  const stage = createStage(products);
  const missed: string[] = [];
  try {
    const { stores } = await stage.plain();
    for (const name of names) {
      try {
        const measured = await PARTS.get(name)?.(stage);
        if (measured === undefined) continue;
        await publish({ ...measured, stores, write: products === PRODUCTS });
        missed.push(...measured.missed);
      } catch (error) {
        // The other parts are worth their time all the same.
        console.error(error);
        missed.push(`${name} failed: ${error instanceof Error ? error.message : error}`);
      }
    }
  } finally {
    await stage.close();
  }
  if (missed.length > 0) throw new StartupError(`Missed:\n${missed.map((one) => `  ${one}`).join("\n")}`);
});
