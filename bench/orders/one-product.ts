import { formatNumber, median, quantile } from "../harness/numbers.ts";
import { Goals, type Measurement } from "../harness/part.ts";
import type { Service } from "../harness/service.ts";
import { type LoadGenerator, startLoadGenerator } from "../load/load-generator.ts";
import { type CachedReads, READS_PER_SECOND, readDuringOrders } from "./cached-reads.ts";
import { CONNECTIONS, HOT_PRODUCT } from "./measure.ts";
import { assertInvariants, CUSTOMERS, type OrderShop } from "./order-shop.ts";
import { BUYERS, sellOut, UNITS } from "./sold-out.ts";

const WARM_UP_SECONDS = 5;
const PEAK_SECONDS = 5;
const PEAK_CALLERS = 64;
const ROUNDS = 3;
const SECONDS_PER_ROUND = 10;
const OTHER_PRODUCT = HOT_PRODUCT + 1;
/** Time of the last response to the buyers, p99 of reads as a multiple of that with orders for another product, and loads a second. */
const GOALS = { lastMs: 2_000, p99Ratio: 3, loadsPerSecond: 2 };

/** Measures what callers see of one product that many order. */
export async function measureOneProduct(shop: OrderShop): Promise<Measurement> {
  const service = await shop.start(await shop.copy("orders_one_product"), {});
  const generator = startLoadGenerator(service.url, CONNECTIONS);
  const goals = new Goals();
  const rows = [["one product", "result", "goal"]];
  const notes: string[] = [];
  try {
    const peak = await measurePeak(generator, shop.products);
    console.log(`${BUYERS} buyers ...`);
    const { sold, outOfStock, others, left, lastMs } = await sellOut(service);
    const isExact = sold === UNITS && outOfStock === BUYERS - UNITS && left === 0n;
    if (!isExact)
      goals.missed.push(`${sold} of ${UNITS} units were sold, ${left} are left, ${others.join(", ")}`);
    rows.push(
      [
        `${formatNumber(BUYERS)} buyers of ${UNITS} units: orders, OUT_OF_STOCK`,
        `${sold}, ${outOfStock}`,
        `${UNITS}, ${BUYERS - UNITS}`,
      ],
      [
        "last response to them, ms",
        formatNumber(Math.round(lastMs)),
        goals.atMost("the last response to the buyers, ms,", lastMs, GOALS.lastMs),
      ],
    );
    const { same, other } = await compareReads(service, generator, shop.products, peak / 2);
    const ratios = same.map((reads, round) => p99(reads) / p99(other[round]));
    const loads = median(same.map((reads) => reads.loads / reads.seconds));
    const failed = [...same, ...other].reduce((sum, reads) => sum + reads.failed, 0);
    if (failed > 0) goals.missed.push(`${failed} calls failed while the product was read`);
    rows.push(
      ["p99 of GetProduct, orders for others, ms", formatNumber(median(other.map(p99))), ""],
      ["p99 of GetProduct, orders for it, ms", formatNumber(median(same.map(p99))), ""],
      [
        "ratio",
        formatNumber(median(ratios)),
        goals.atMost(
          "p99 of GetProduct of the ordered product, of another's,",
          median(ratios),
          GOALS.p99Ratio,
        ),
      ],
      [
        "loads a second",
        formatNumber(loads),
        goals.atMost("loads a second of the ordered product", loads, GOALS.loadsPerSecond),
      ],
    );
    const placed = median([...same, ...other].map((reads) => reads.orders / reads.seconds));
    notes.push(
      `The peak with the product in each order was ${formatNumber(Math.round(peak))} orders/s with ${PEAK_CALLERS} callers; GetProduct was called ${READS_PER_SECOND} times a second during ${formatNumber(Math.round(placed))} orders/s, for ${SECONDS_PER_ROUND} s with each order for the product that is read and ${SECONDS_PER_ROUND} s with each for another one, ${ROUNDS} times in turn; the medians.`,
    );
    await assertInvariants("the orders of one product", service.databaseUrl);
  } finally {
    await generator.close();
    await service.close();
  }
  return {
    title: "Orders of one product",
    notes: `${formatNumber(shop.products)} products, STOCK_STRATEGY combined, calls over gRPC. The buyers order one unit each concurrently over ${CONNECTIONS} connections. ${notes.join(" ")}`,
    rows,
    missed: goals.missed,
    stores: shop.stores,
  };
}

/** Returns the orders a second of a closed loop that orders one product. */
async function measurePeak(generator: LoadGenerator, products: number): Promise<number> {
  const orders = { products, customers: CUSTOMERS, hotProduct: HOT_PRODUCT };
  const load = { orders, callers: PEAK_CALLERS, perSecond: 0 };
  await generator.run({ ...load, seconds: WARM_UP_SECONDS });
  const { ms, seconds } = await generator.run({ ...load, seconds: PEAK_SECONDS });
  return ms.length / seconds;
}

async function compareReads(
  service: Service,
  generator: LoadGenerator,
  products: number,
  ordersPerSecond: number,
): Promise<{ same: CachedReads[]; other: CachedReads[] }> {
  const [same, other]: [CachedReads[], CachedReads[]] = [[], []];
  const options = { service, generator, products, ordersPerSecond, seconds: SECONDS_PER_ROUND };
  for (let round = 1; round <= ROUNDS; round += 1) {
    console.log(`${round}/${ROUNDS} GetProduct during ${Math.round(ordersPerSecond)} orders/s ...`);
    const readProduct = HOT_PRODUCT;
    other.push(await readDuringOrders({ ...options, readProduct, orderedProduct: OTHER_PRODUCT }));
    same.push(await readDuringOrders({ ...options, readProduct, orderedProduct: HOT_PRODUCT }));
  }
  return { same, other };
}

const p99 = (reads: CachedReads | undefined): number => quantile(reads?.ms ?? [], 0.99);
