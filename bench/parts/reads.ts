import { randomBytes } from "node:crypto";
import pg from "pg";
import { createCatalog } from "../../src/catalog/catalog.ts";
import { keyStatement } from "../../src/catalog/product/product.ts";
import { ALL_COLUMNS } from "../../src/catalog/product/product-row.ts";
import { seedId } from "../../src/cli/seed/generate/seed-id.ts";
import { entities } from "../../src/entities.ts";
import { createLog } from "../../src/infra/log.ts";
import { openPostgres } from "../../src/infra/postgres/postgres.ts";
import { compileStatement } from "../../src/infra/postgres/statement.ts";
import { createInventory } from "../../src/inventory/inventory.ts";
import { internalCall } from "../../src/kernel/call.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { createIds } from "../../src/kernel/ids.ts";
import { createPageTokens } from "../../src/kernel/page.ts";
import { createRandom, formatNumber, median } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";

const CONCURRENCY = 16;
const ROUNDS = 9;
const READS_PER_ROUND = 5_000;
/** The share of the throughput of the driver alone that reads must reach. */
const GOAL = 0.8;

/** Reads a product by its id. */
type Read = (id: string) => Promise<unknown>;

/** Compares reads of a product by id through the catalogue with the same prepared statement through raw pg. */
export const reads: Part = async ({ products, uncached }) => {
  const { databaseUrl } = await uncached();
  const db = await openPostgres({
    url: databaseUrl,
    entities,
    poolMax: CONCURRENCY,
    poolWaitMs: 2_000,
    statementTimeoutMs: 5_000,
    log: createLog("warn", process.stdout),
  });
  const pool = new pg.Pool({ connectionString: databaseUrl, max: CONCURRENCY });
  const tokens = createPageTokens(randomBytes(32), systemClock);
  const inventory = createInventory({ clock: systemClock });
  const catalog = createCatalog({ db, ids: createIds(systemClock), clock: systemClock, tokens, inventory });
  const all = { showDeleted: false, readMask: [] };
  const ours = () => {
    const call = internalCall();
    return (id: string) => catalog.products.get(call, { column: "id", value: id }, all);
  };
  const raw = () => (id: string) => {
    const { text, name, values } = compileStatement(
      keyStatement({ column: "id", value: id }, ALL_COLUMNS, false),
    );
    return pool.query({ text, name, values: [...values] });
  };
  const [rawRates, ourRates]: [number[], number[]] = [[], []];
  try {
    console.log(`${formatNumber(ROUNDS)} rounds of reads ...`);
    for (let round = 0; round <= ROUNDS; round += 1) {
      const rawRate = await measure(raw, products, round);
      const ourRate = await measure(ours, products, round);
      if (round === 0) continue; // warm-up: compiles code, opens connections, plans statements
      rawRates.push(rawRate);
      ourRates.push(ourRate);
    }
  } finally {
    await Promise.all([db.close(), pool.end()]);
  }
  const ratio = median(ourRates.map((rate, round) => rate / (rawRates[round] ?? Number.NaN)));
  const goals = new Goals();
  const goal = goals.atLeast("by-id read, ours / raw pg,", ratio, GOAL);
  const formatRate = (rates: number[]) => formatNumber(Math.round(median(rates)));
  return {
    title: "Reads against raw pg",
    notes: `${formatNumber(products)} products; one process, ${CONCURRENCY} concurrent reads on a pool of ${CONCURRENCY} each, medians of ${ROUNDS} alternating rounds of ${formatNumber(READS_PER_ROUND)} reads. Ours is the catalogue's function, without cache and network, up to the returned product.`,
    rows: [
      ["read", "ours /s", "raw pg /s", "ratio", "goal"],
      ["product by id", formatRate(ourRates), formatRate(rawRates), ratio.toFixed(2), goal],
    ],
    missed: goals.missed,
  };
};

/** Returns reads per second. */
async function measure(createRead: () => Read, products: number, seed: number): Promise<number> {
  const random = createRandom(seed);
  let left = READS_PER_ROUND;
  const startMs = performance.now();
  const worker = async () => {
    const read = createRead();
    while (left > 0) {
      left -= 1;
      await read(seedId("product", 1 + Math.floor(random() * products)));
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  return (READS_PER_ROUND / (performance.now() - startMs)) * 1_000;
}
