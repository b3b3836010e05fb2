import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { StockReason } from "../gen/cartwright/catalog/v1/catalog_pb.ts";
import { CatalogService } from "../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { seedId } from "../src/cli/seed/generate/seed-id.ts";
import { StartupError } from "../src/kernel/errors.ts";
import { formatNumber, median } from "./harness/numbers.ts";
import { parseInteger, readOptions, runBench } from "./harness/run-bench.ts";
import { type LoadGenerator, startLoadGenerator } from "./load/load-generator.ts";

const USAGE = `Usage: node bench/create-order.ts <url before> <url after> [--rounds 10] [--callers 64]
  Compares the throughput of CreateOrder of two running services with ACCESS=off, LIMITS=off and MAX_CALLS=4000, and with
  the data of npm run seed -- --products 2000 --customers 1000. Runs of 3 s alternate. It adds stock to the products.`;
const PRODUCTS = 2_000;
const CUSTOMERS = 1_000;
const UNITS = 1_000_000n;
const MAX_ADJUSTMENTS = 1_000;
const CONNECTIONS = 4;
const SECONDS = 3;

interface Arguments {
  urls: [before: string, after: string];
  rounds: number;
  callers: number;
}

function readArguments(): Arguments {
  return readOptions(USAGE, () => {
    const options = {
      rounds: { type: "string", default: "10" },
      callers: { type: "string", default: "64" },
    } as const;
    const { values, positionals } = parseArgs({ allowPositionals: true, options });
    const [before, after, ...rest] = positionals;
    if (before === undefined || after === undefined || rest.length > 0) {
      throw new StartupError("Two URLs are needed.");
    }
    const rounds = parseInteger("rounds", values.rounds, 1, 1_000);
    return { urls: [before, after], rounds, callers: parseInteger("callers", values.callers, 1, 1_000) };
  });
}

/** Adds stock to all products, so that no order is rejected. */
async function stockUp(url: string): Promise<void> {
  const catalog = createClient(CatalogService, createGrpcTransport({ baseUrl: url }));
  for (let first = 1; first <= PRODUCTS; first += MAX_ADJUSTMENTS) {
    const { results } = await catalog.batchAdjustStock({
      requestId: randomUUID(),
      adjustments: Array.from({ length: MAX_ADJUSTMENTS }, (_, index) => ({
        productId: seedId("product", first + index),
        delta: UNITS,
        reason: StockReason.RECEIVED,
      })),
    });
    const failed = results.find(({ result }) => result.case !== "stock");
    if (failed !== undefined) throw new StartupError(`${url} has not added stock. Seed it first.\n${USAGE}`);
  }
}

/** Returns the orders a second of a run. @throws StartupError when an order fails */
async function measure(generator: LoadGenerator, callers: number): Promise<number> {
  const orders = { products: PRODUCTS, customers: CUSTOMERS, hotProduct: undefined };
  const { ms, failures, seconds } = await generator.run({ orders, callers, seconds: SECONDS, perSecond: 0 });
  if (failures.size === 0) return ms.length / seconds;
  throw new StartupError(`Orders have failed: ${JSON.stringify([...failures])}`);
}

await runBench(async () => {
  const { urls, rounds, callers } = readArguments();
  for (const url of urls) await stockUp(url);
  const [before, after] = urls.map((url) => startLoadGenerator(url, CONNECTIONS));
  if (before === undefined || after === undefined) throw new RangeError("There are two services.");
  try {
    for (const generator of [before, after]) await measure(generator, callers);
    const pairs: { before: number; after: number }[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      // Each side is first in half of the rounds.
      const early = await measure(round % 2 === 1 ? before : after, callers);
      const late = await measure(round % 2 === 1 ? after : before, callers);
      const pair = round % 2 === 1 ? { before: early, after: late } : { before: late, after: early };
      console.log(
        `${round}/${rounds}: before ${formatNumber(Math.round(pair.before))}, after ${formatNumber(Math.round(pair.after))} orders/s`,
      );
      pairs.push(pair);
    }
    const ratio = median(pairs.map((pair) => pair.after / pair.before));
    console.log(
      `CreateOrder, ${callers} callers, median of ${rounds} pairs: throughput after / before ${formatNumber(ratio)} (goal >= 0.97)`,
    );
  } finally {
    await before.close();
    await after.close();
  }
});
