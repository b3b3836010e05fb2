import { availableParallelism } from "node:os";
import { sql } from "kysely";
import { ensureBrands } from "../../catalog/brand/brand.ts";
import { refreshWordRanges } from "../../catalog/search/word-range-refresh.ts";
import { rollUpCounts } from "../../catalog/stats/count-rollup.ts";
import { entities } from "../../entities.ts";
import { ALL_TAGS, newGeneration } from "../../infra/cache/redis-tier.ts";
import { invalidationTopic } from "../../infra/outbox/invalidation/invalidation-topic.ts";
import { withOutbox } from "../../infra/outbox/outbox.ts";
import { type Database, openPostgres, type Tx } from "../../infra/postgres/postgres.ts";
import { mapConcurrent } from "../../kernel/async/map-concurrent.ts";
import { type Call, internalCall } from "../../kernel/call.ts";
import { MINUTE_MS } from "../../kernel/durations.ts";
import type { Log } from "../../kernel/log.ts";
import { SEED_CATEGORIES } from "./generate/categories.ts";
import { CUSTOMER_BLOCK, generateCustomers } from "./generate/customers.ts";
import { generateProducts, PRODUCT_BLOCK } from "./generate/products.ts";
import { createdAtOf, type NumberRange, seedId, splitIntoBlocks } from "./generate/seed-id.ts";
import { writeCategories } from "./write/categories.ts";
import { writeCustomers } from "./write/customers.ts";
import { writeProducts } from "./write/products.ts";
import { writePromotions } from "./write/promotions.ts";
import { writeZones } from "./write/zones.ts";

/** Size and database of a seeded shop. */
export interface SeedOptions {
  /** A migrated database. */
  url: string;
  products: number;
  customers: number;
  onProgress?: (progress: SeedProgress) => void;
  /** Time of a first run, for tests. */
  now?: Date;
}

/** Progress of one step. */
export interface SeedProgress {
  step: "products" | "customers";
  done: number;
  total: number;
}

/** Numbers of added rows, and durations. */
export interface SeedResult {
  products: number;
  customers: number;
  orders: number;
  purchases: number;
  /** Duration of adding products, in milliseconds. */
  productsMs: number;
  /** Total duration, in milliseconds. */
  ms: number;
}

/** Connections that write products. PostgreSQL spends its time in the indexes: one for each core and a spare. */
const WRITERS = Math.min(availableParallelism() + 1, 5);
/** Vacuuming a large shop takes minutes. */
const STATEMENT_TIMEOUT_MS = 30 * MINUTE_MS;
const TABLES = [
  "category, brand, product, product_count, product_count_delta, search_word, stock_movement",
  "customer, orders, order_item, order_event, fulfillment, fulfillment_item, review",
  "promotion, purchase, purchase_total",
].join(", ");

const ignore = () => {};
/** Discards log lines: failures are thrown. */
const NO_LOG: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/**
 * Fills a shop with products 1 to `products` and customers 1 to `customers` with their orders, always with the same
 * values. It adds only missing rows and changes nothing else but the stock of products in new orders. It can be
 * repeated after an interruption, with larger numbers, and while the service is running; concurrent runs share the
 * work.
 */
export async function seedShop(options: SeedOptions): Promise<SeedResult> {
  const { url, products, customers, onProgress = () => {}, now = new Date() } = options;
  const startMs = performance.now();
  const call = internalCall();
  const db = await openPostgres({
    url,
    entities,
    // The pool lends three quarters of its connections to transactions.
    poolMax: Math.ceil(WRITERS / 0.75),
    poolWaitMs: STATEMENT_TIMEOUT_MS,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    log: NO_LOG,
  });
  try {
    const { originMs, categoryIds } = await db.transact(call, async (tx) => {
      const brands = SEED_CATEGORIES.flatMap((category) => category.brands);
      await ensureBrands(tx, brands, new Date(createdAtOf(0)));
      await writeZones(tx);
      return { originMs: await writePromotions(tx, now), categoryIds: await writeCategories(tx) };
    });
    const productsStartMs = performance.now();
    const addedProducts = await seedProducts({ db, call, onProgress }, products, categoryIds);
    const productsMs = performance.now() - productsStartMs;
    const added = await seedCustomers({ db, call, onProgress }, customers, products, originMs);
    // Also for rows that an interrupted run has added.
    if (addedProducts + added.customers > 0) await runMaintenance(db, call);
    await invalidateCaches(db, call);
    return { ...added, products: addedProducts, productsMs, ms: performance.now() - startMs };
  } finally {
    await db.close();
  }
}

/**
 * Rolls up the product counts, which are read faster then, vacuums, and computes the ranges of frequent words: the
 * planner and the ranges need statistics, and searches need the pending entries in their index. Its commits wait for the
 * disk, and so flush all earlier commits.
 */
async function runMaintenance(db: Database, call: Call): Promise<void> {
  await rollUpCounts(db, call);
  await db.read(call, sql.raw(`vacuum (analyze) ${TABLES}`));
  await refreshWordRanges(db, call);
}

/** Publishes the invalidation of everything that running services have cached. */
async function invalidateCaches(db: Database, call: Call): Promise<void> {
  const invalidation = { tags: [ALL_TAGS], generation: newGeneration().toString("base64"), throttled: [] };
  const outbox = withOutbox(db, { notify: () => {} });
  await outbox.transact(call, async (tx) => tx.publish(invalidationTopic, invalidation));
}

interface SeedContext {
  db: Database;
  call: Call;
  onProgress(progress: SeedProgress): void;
}

async function seedProducts(
  { db, call, onProgress }: SeedContext,
  total: number,
  categoryIds: ReadonlyMap<string, string>,
): Promise<number> {
  let [added, done] = [0, 0];
  await mapConcurrent(splitIntoBlocks(total, PRODUCT_BLOCK), WRITERS, async (block) => {
    if (!(await isComplete({ db, call }, "product", block))) {
      const products = generateProducts(block);
      const count = await transactAsync(db, call, (tx) => writeProducts(tx, products, categoryIds));
      added += count;
    }
    done += sizeOf(block);
    onProgress({ step: "products", done, total });
  });
  return added;
}

async function seedCustomers(
  { db, call, onProgress }: SeedContext,
  total: number,
  products: number,
  originMs: number,
): Promise<Pick<SeedResult, "customers" | "orders" | "purchases">> {
  const added = { customers: 0, orders: 0, purchases: 0 };
  // In sequence, so that the same customer gets the last unit in each run.
  for (const block of splitIntoBlocks(total, CUSTOMER_BLOCK)) {
    if (!(await isComplete({ db, call }, "customer", block))) {
      const customers = generateCustomers(block, products);
      const counts = await transactAsync(db, call, (tx) => writeCustomers(tx, customers, originMs));
      added.customers += counts.customers;
      added.orders += counts.orders;
      added.purchases += counts.purchases;
    }
    onProgress({ step: "customers", done: block.last, total });
  }
  return added;
}

/** Runs a transaction whose commit does not wait for the disk: rows that a crash loses are added by the next run. */
function transactAsync<T>(db: Database, call: Call, work: (tx: Tx) => Promise<T>): Promise<T> {
  return db.transact(call, async (tx) => {
    await tx.query(sql`set local synchronous_commit = off`);
    return work(tx);
  });
}

const sizeOf = ({ first, last }: NumberRange) => last - first + 1;

/** Returns whether all rows of a block exist. */
async function isComplete(
  { db, call }: { db: Database; call: Call },
  kind: "product" | "customer",
  block: NumberRange,
): Promise<boolean> {
  const [existing] = await db.read(
    call,
    sql<{ count: number }>`
      select count(*)::int as count from ${sql.table(kind)}
      where id between ${seedId(kind, block.first)} and ${seedId(kind, block.last)}`,
  );
  return existing?.count === sizeOf(block);
}
