import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ImportMode, type ImportProductsRequestSchema } from "../../gen/cartwright/catalog/v1/import_pb.ts";
import { generateProducts, PRODUCT_BLOCK } from "../../src/cli/seed/generate/products.ts";
import { splitIntoBlocks } from "../../src/cli/seed/generate/seed-id.ts";
import { createClient } from "../../src/client/client.ts";
import { StartupError } from "../../src/kernel/errors.ts";
import { formatNumber } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";

/** The imported fields of a seeded product. */
interface Row {
  sku: string;
  name: string;
  description: string;
  categorySlug: string;
  brand: string;
  imageUri: string;
  attributes: Record<string, string>;
  price: { currencyCode: string; minorUnits: bigint };
  stockQuantity: bigint;
}

/** The minimum number of rows for a meaningful duration. */
const MIN_ROWS = 10_000;
/** The goals, rows a second. */
const GOALS = { created: 7_000, changed: 15_000, unchanged: 10_000 };

/** Measures imports of a tenth of the shop: new, changed and unchanged products. */
export const imports: Part = async ({ products, smallProducts, uncached, small }) => {
  const count = Math.max(MIN_ROWS, Math.ceil(products / 10));
  const goals = new Goals();
  const rows = [["import", "seconds", "rows/s", "goal"]];
  const [smallUrl, url] = [(await small()).url, (await uncached()).url];
  const newRows = createRows(products, count);
  const repriced = newRows.map((row) => ({ ...row, price: { currencyCode: "EUR", minorUnits: 77_700n } }));
  const recounted = repriced.map((row) => ({ ...row, stockQuantity: row.stockQuantity + 1n }));
  const { created, changed, unchanged } = GOALS;
  const runs = [
    {
      what: `new, into ${formatNumber(smallProducts)} products`,
      url: smallUrl,
      rows: newRows,
      goal: created,
    },
    { what: `new, into ${formatNumber(products)} products`, url, rows: newRows, goal: created },
    { what: "prices changed", url, rows: repriced, goal: changed },
    { what: "stock changed", url, rows: recounted, goal: changed },
    { what: "nothing changed", url, rows: recounted, goal: unchanged },
  ];
  for (const run of runs) {
    console.log(`import, ${run.what} ...`);
    const seconds = await importRows(run.url, run.rows);
    const rate = count / seconds;
    const goal = goals.atLeast(`import, ${run.what}, rows/s,`, rate, run.goal);
    rows.push([run.what, seconds.toFixed(2), formatNumber(Math.round(rate)), goal]);
  }
  const notes = `${formatNumber(count)} rows by ImportProducts over gRPC, through the typed client, ${formatNumber(PRODUCT_BLOCK)} a message.`;
  return { title: "Import", notes, rows, missed: goals.missed };
};

/** Returns `count` rows of products that follow the first `products`. */
function createRows(products: number, count: number): Row[] {
  const first = Math.ceil(products / PRODUCT_BLOCK) * PRODUCT_BLOCK;
  return [...splitIntoBlocks(count, PRODUCT_BLOCK)]
    .flatMap((block) => generateProducts({ first: first + block.first, last: first + block.last }))
    .map(({ sku, name, description, categorySlug, brand, priceMinor, stock, imageUri, attributes }) => ({
      sku,
      name,
      description,
      categorySlug,
      brand,
      imageUri,
      attributes,
      price: { currencyCode: "EUR", minorUnits: BigInt(priceMinor) },
      stockQuantity: BigInt(stock),
    }));
}

/** Runs one import. Returns its duration in seconds. */
async function importRows(url: string, rows: readonly Row[]): Promise<number> {
  const { catalog } = createClient({ baseUrl: url, transport: createGrpcTransport });
  const requestId = randomUUID();
  const mode = ImportMode.INCREMENTAL;
  async function* messages(): AsyncGenerator<MessageInitShape<typeof ImportProductsRequestSchema>> {
    for (let at = 0; at < rows.length; at += PRODUCT_BLOCK) {
      yield { requestId, mode, offset: BigInt(at), rows: rows.slice(at, at + PRODUCT_BLOCK) };
    }
  }
  const startMs = performance.now();
  const { rowCount, failedCount } = await catalog.importProducts(messages());
  const seconds = (performance.now() - startMs) / 1_000;
  if (Number(rowCount) === rows.length && failedCount === 0n) return seconds;
  throw new StartupError(`Of ${rows.length} rows, ${rowCount} were read and ${failedCount} failed.`);
}
