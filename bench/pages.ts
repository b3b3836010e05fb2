import { parseArgs } from "node:util";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { CatalogService } from "../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { StartError } from "../src/kernel/errors.ts";
import { publish } from "./results.ts";
import { startService } from "./service.ts";

const PRODUCTS = 100_000;
const PAGE_SIZE = 20;
const FAR_PAGE = 4_000;
/** A page far back may cost at most so many times what the first costs. */
const GOAL = 1.2;
const USAGE = "Usage: npm run bench -- [--rounds 1000]";

/** The lists that are measured; each has an index of its own. */
const LISTS = [
  { what: "products by id", orderBy: "" },
  { what: "products by price, dearest first", orderBy: "price desc" },
  { what: "products by name", orderBy: "name" },
];

function readRounds(): number {
  try {
    const { values } = parseArgs({ options: { rounds: { type: "string", default: "1000" } } });
    const rounds = Number(values.rounds);
    if (Number.isInteger(rounds) && rounds >= 10 && rounds <= 100_000) return rounds;
    throw new Error("--rounds must be a whole number from 10 to 100000.");
  } catch (error) {
    throw new StartError(`${error instanceof Error ? error.message : error}\n${USAGE}`);
  }
}

/** The token of the far page: large steps first, as a token does not depend on the size of the page before. */
async function findToken(catalog: Client<typeof CatalogService>, orderBy: string): Promise<string> {
  let token = "";
  for (let left = (FAR_PAGE - 1) * PAGE_SIZE; left > 0; ) {
    const pageSize = Math.min(left, 100);
    const page = await catalog.listProducts({
      orderBy,
      pageSize,
      pageToken: token,
      readMask: { paths: ["id"] },
    });
    left -= page.products.length;
    token = page.nextPageToken;
  }
  return token;
}

/** Medians of the two pages, milliseconds over the wire, asked for in turn so that both see the same machine. */
async function measure(
  catalog: Client<typeof CatalogService>,
  orderBy: string,
  rounds: number,
): Promise<{ firstMs: number; farMs: number }> {
  const farToken = await findToken(catalog, orderBy);
  const time = async (pageToken: string) => {
    const startMs = performance.now();
    const { products } = await catalog.listProducts({ orderBy, pageSize: PAGE_SIZE, pageToken });
    if (products.length !== PAGE_SIZE) throw new StartError(`A page had ${products.length} products.`);
    return performance.now() - startMs;
  };
  const [first, far]: [number[], number[]] = [[], []];
  const warmUp = Math.ceil(rounds / 5);
  for (let round = 0; round < warmUp + rounds; round += 1) {
    const pair =
      round % 2 === 0
        ? [await time(""), await time(farToken)]
        : [await time(farToken), await time("")].reverse();
    if (round < warmUp) continue;
    first.push(pair[0] ?? Number.NaN);
    far.push(pair[1] ?? Number.NaN);
  }
  return { firstMs: median(first), farMs: median(far) };
}

const format = (count: number) => count.toLocaleString("en");

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

async function main(): Promise<void> {
  const rounds = readRounds();
  const service = await startService(PRODUCTS);
  try {
    const catalog = createClient(CatalogService, createGrpcTransport({ baseUrl: service.url }));
    const rows = [["list", "page 1 ms", `page ${format(FAR_PAGE)} ms`, "ratio", "goal"]];
    let isReached = true;
    for (const { what, orderBy } of LISTS) {
      console.log(`${what} ...`);
      const { firstMs, farMs } = await measure(catalog, orderBy, rounds);
      const ratio = farMs / firstMs;
      isReached &&= ratio <= GOAL;
      rows.push([what, firstMs.toFixed(3), farMs.toFixed(3), ratio.toFixed(2), `<= ${GOAL}`]);
    }
    const notes = `${format(PRODUCTS)} products, ${PAGE_SIZE} a page; ListProducts over gRPC, medians of ${rounds} calls each, one at a time and in turn.`;
    await publish(`Page ${format(FAR_PAGE)} against page 1`, { stores: service.stores, notes, rows });
    if (!isReached) throw new StartError(`The goal, at most ${GOAL} times the first page, is missed.`);
  } finally {
    await service.close();
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
