import { createThrottledWarning } from "../../infra/jobs/throttled-warning.ts";
import type { OutboxConsumer } from "../../infra/outbox/consumer/consumer.ts";
import type { Topic } from "../../infra/outbox/topic.ts";
import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Log } from "../../kernel/log.ts";
import { productTag } from "../product/product-row.ts";
import { addSales, type ProductSale, updatePopularities } from "./add-sales.ts";

/** The sales of one transaction, with decimal units. */
type PublishedSales = readonly { readonly productId: string; readonly units: string }[];

const salesTopic: Topic<PublishedSales> = { name: "product-sales" };

/** Publishes sales. The consumer counts them after the commit, so an order does not wait for the rows of its products. */
export function publishSales(tx: Tx, sales: readonly ProductSale[]): void {
  if (sales.length === 0) return;
  tx.publish(
    salesTopic,
    sales.map(({ productId, units }) => ({ productId, units: units.toString() })),
  );
}

/** Time between batches, in milliseconds. */
const INTERVAL_MS = 2_000;
/** Time that a batch may spend on popularities, in milliseconds: a fifth of the interval. */
const POPULARITY_MS = INTERVAL_MS / 5;
/** Number of products whose popularity a batch updates: at first, and its bounds, whatever the measured time is. */
export const POPULARITIES = { first: 1_000, min: 100, max: 5_000 };

/** Maximum number of products in a log line. */
const MAX_LOGGED = 100;

/**
 * Creates the consumer that adds sales to the units sold and to the popularity of products. It runs every two seconds at
 * most, so a product that is sold often is not updated, and dropped from caches, more often.
 *
 * A batch counts all its sales. It updates as many popularities as the last measurement allows in 400 ms, those first
 * that have waited longest; the next batches update the rest.
 * @param nowMs a clock in milliseconds
 */
export function createSalesConsumer(
  log: Log,
  nowMs = () => performance.now(),
): OutboxConsumer<PublishedSales> {
  const warn = createThrottledWarning(log);
  let limit = POPULARITIES.first;
  return {
    name: "product-sales",
    topics: [salesTopic],
    delayMs: INTERVAL_MS,
    limits: { rows: 1_000_000, ageMs: 60_000 },
    async apply(tx, events) {
      const sales = events.flatMap(({ data }) => data);
      const negative = await addSales(
        tx,
        sales.map(({ productId, units }) => ({ productId, units: BigInt(units) })),
      );
      if (negative.length > 0) {
        const fields = { products: negative.slice(0, MAX_LOGGED), count: negative.length };
        warn(fields, "Units sold were less than those of cancelled orders; set to 0");
      }
      const startMs = nowMs();
      const { products, hasMore } = await updatePopularities(tx, limit);
      if (hasMore) {
        limit = nextLimit(limit, nowMs() - startMs);
        // An event without sales: the consumer continues with it after its delay.
        tx.publish(salesTopic, []);
      }
      const ids = [...sales.map(({ productId }) => productId), ...products.map(({ id }) => id)];
      for (const id of ids) tx.invalidateThrottled(productTag(id));
    },
  };
}

/** Returns the number of products that would have taken the allowed time, at most twice as many as before. */
function nextLimit(limit: number, elapsedMs: number): number {
  const affordable = Math.floor((limit * POPULARITY_MS) / Math.max(1, elapsedMs));
  return Math.max(POPULARITIES.min, Math.min(affordable, 2 * limit, POPULARITIES.max));
}
