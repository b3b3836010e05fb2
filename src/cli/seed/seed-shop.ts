import { availableParallelism } from "node:os";
import { Client, type ClientBase, Pool } from "pg";
import { rollUpAll } from "../../catalog/stats/count-rollup.ts";
import { ALL_TAGS, newGeneration } from "../../infra/cache/redis-tier.ts";
import { openJobs } from "../../infra/jobs/jobs.ts";
import { invalidationQueue } from "../../infra/jobs/queues.ts";
import { compileStatement, type Statement } from "../../infra/postgres/statement.ts";
import type { Log } from "../../kernel/log.ts";
import { CUSTOMER_BLOCK, generateCustomers } from "./generate/customers.ts";
import { generateProducts, PRODUCT_BLOCK, writeProducts } from "./generate/products.ts";
import { writePromotions } from "./generate/promotions.ts";
import { type NumberRange, seedId, splitIntoBlocks } from "./generate/seed-id.ts";
import { writeBrands } from "./write/brands.ts";
import { writeCategories } from "./write/categories.ts";
import { writeCustomers } from "./write/customers.ts";

/** How large the shop is to be, and where. */
export interface SeedOptions {
  /** A migrated database. */
  url: string;
  products: number;
  customers: number;
  onProgress?: (progress: SeedProgress) => void;
  /** The time of a first run, for tests. */
  now?: Date;
}

/** How far a part of the seed has come. */
export interface SeedProgress {
  part: "products" | "customers";
  done: number;
  total: number;
}

/** How many rows were added, and how long it took. */
export interface Seeded {
  products: number;
  customers: number;
  orders: number;
  purchases: number;
  /** The products alone, milliseconds. */
  productsMs: number;
  /** All of it, milliseconds. */
  ms: number;
}

/** Connections that write products: PostgreSQL spends its time in the indexes, so one a core, and one to spare. */
const WRITERS = Math.min(availableParallelism() + 1, 5);
const TABLES = [
  "category, brand, product, product_count, product_count_delta, search_word, stock_movement",
  "customer, orders, order_item, review, promotion, purchase, purchase_total",
].join(", ");

/**
 * Fills a shop with products 1 to `products` and customers 1 to `customers`, with what they bought. All of it
 * is always the same. Only what is missing is added, and nothing that is there is touched but the stock that
 * new orders take, so it can be repeated after an interruption, with larger numbers, and on a shop in use;
 * two runs at once share the work.
 */
export async function seedShop(options: SeedOptions): Promise<Seeded> {
  const { url, products, customers, onProgress = () => {}, now = new Date() } = options;
  const startMs = performance.now();
  const keeper = new Client({ connectionString: url });
  // Commits of single blocks need not reach the disk at once: what a crash loses, a repeat adds.
  const pool = new Pool({ connectionString: url, max: WRITERS, options: "-c synchronous_commit=off" });
  // A connection that breaks is noticed by its next statement.
  keeper.on("error", () => {});
  pool.on("error", () => {});
  try {
    await keeper.connect();
    const originMs = await writePromotions(keeper, now);
    const categoryIds = await writeCategories(keeper);
    await writeBrands(keeper);
    const productsMs = performance.now();
    const addedProducts = await seedProducts(pool, products, categoryIds, onProgress);
    const customersMs = performance.now();
    const added = await seedCustomers(pool, customers, products, originMs, onProgress);
    // Also for what a run that was interrupted has added.
    if (addedProducts + added.customers > 0) await tidy(keeper);
    await announce(url, keeper);
    return {
      ...added,
      products: addedProducts,
      productsMs: customersMs - productsMs,
      ms: performance.now() - startMs,
    };
  } finally {
    await Promise.all([pool.end(), keeper.end()]);
  }
}

/**
 * Counts are read fast when few changes of them are left to be added up. Plans need statistics and searches
 * the last words in their index; the commits of a vacuum wait for the disk, and so for all those before them.
 */
async function tidy(keeper: ClientBase): Promise<void> {
  await rollUpAll(async (text) => (await keeper.query<{ deltas: number }>(text)).rows);
  await keeper.query(`vacuum (analyze) ${TABLES}`);
}

const quiet = () => {};
/** What goes wrong is thrown. */
const QUIET: Log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

/** Leaves word for the caches of a shop that runs: they drop all that they have. */
async function announce(url: string, keeper: ClientBase): Promise<void> {
  const jobs = await openJobs({ url, workers: 0, log: QUIET });
  const query = async <Row>(statement: Statement<Row>): Promise<Row[]> => {
    const { text, values } = compileStatement(statement);
    return (await keeper.query<Row & object>(text, [...values])).rows;
  };
  const everything = { tags: [ALL_TAGS], generation: newGeneration().toString("base64") };
  await jobs.enqueue({ query }, invalidationQueue, everything).finally(() => jobs.close());
}

async function seedProducts(
  pool: Pool,
  total: number,
  categoryIds: ReadonlyMap<string, string>,
  onProgress: (progress: SeedProgress) => void,
): Promise<number> {
  let [added, done] = [0, 0];
  await spread(pool, WRITERS, splitIntoBlocks(total, PRODUCT_BLOCK), async (client, block) => {
    if (!(await isPresent(client, "product", block))) {
      const fresh = await writeProducts(client, generateProducts(block), categoryIds);
      added += fresh;
    }
    done += sizeOf(block);
    onProgress({ part: "products", done, total });
  });
  return added;
}

async function seedCustomers(
  pool: Pool,
  total: number,
  products: number,
  originMs: number,
  onProgress: (progress: SeedProgress) => void,
): Promise<Pick<Seeded, "customers" | "orders" | "purchases">> {
  const added = { customers: 0, orders: 0, purchases: 0 };
  // One after the other: who comes first gets the last unit, in each run the same.
  await spread(pool, 1, splitIntoBlocks(total, CUSTOMER_BLOCK), async (client, block) => {
    if (!(await isPresent(client, "customer", block))) {
      const fresh = await writeCustomers(client, generateCustomers(block, products), originMs);
      added.customers += fresh.customers;
      added.orders += fresh.orders;
      added.purchases += fresh.purchases;
    }
    onProgress({ part: "customers", done: block.last, total });
  });
  return added;
}

const sizeOf = ({ first, last }: NumberRange) => last - first + 1;

/** Whether all rows of a block are there. */
async function isPresent(
  client: ClientBase,
  kind: "product" | "customer",
  block: NumberRange,
): Promise<boolean> {
  const { rows } = await client.query<{ count: number }>(
    `select count(*)::int as count from ${kind} where id between $1 and $2`,
    [seedId(kind, block.first), seedId(kind, block.last)],
  );
  return rows[0]?.count === sizeOf(block);
}

/** Works through blocks on several connections. When one fails, the others finish their block and stop. */
async function spread(
  pool: Pool,
  width: number,
  blocks: Generator<NumberRange>,
  work: (client: ClientBase, block: NumberRange) => Promise<void>,
): Promise<void> {
  const worker = async () => {
    const client = await pool.connect();
    try {
      // They share the generator, which a loop that fails closes for all of them.
      for (const block of blocks) await work(client, block);
    } finally {
      client.release();
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: width }, worker));
  const failure = outcomes.find((outcome) => outcome.status === "rejected");
  if (failure !== undefined) throw failure.reason;
}
