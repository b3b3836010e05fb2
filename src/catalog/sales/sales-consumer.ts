import type { OutboxConsumer } from "../../infra/outbox/consumer/consumer.ts";
import type { Topic } from "../../infra/outbox/topic.ts";
import type { Tx } from "../../infra/postgres/postgres.ts";
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

/** Maximum number of products whose popularity is updated in a batch, so that it costs little while many are sold. */
export const MAX_POPULARITIES = 250;

/**
 * The consumer that adds sales to the units sold and to the popularity of products. It runs every two seconds at
 * most, so a product that is sold often is not updated, and dropped from caches, more often.
 */
export const salesConsumer: OutboxConsumer<PublishedSales> = {
  name: "product-sales",
  topics: [salesTopic],
  delayMs: 2_000,
  limits: { rows: 1_000_000, ageMs: 60_000 },
  async apply(tx, events) {
    const sales = events.flatMap(({ data }) => data);
    await addSales(
      tx,
      sales.map(({ productId, units }) => ({ productId, units: BigInt(units) })),
    );
    const popularities = await updatePopularities(tx, MAX_POPULARITIES);
    // An event without sales: the consumer continues with it after its delay.
    if (popularities.hasMore) tx.publish(salesTopic, []);
    const ids = [...sales.map(({ productId }) => productId), ...popularities.products.map(({ id }) => id)];
    for (const id of ids) tx.invalidateThrottled(productTag(id));
  },
};
