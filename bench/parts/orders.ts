import { type DatabaseLoad, openDatabaseLoad } from "../harness/database-load.ts";
import { formatNumber, median } from "../harness/numbers.ts";
import { Goals, type Measurement, type Part } from "../harness/part.ts";
import { findPgbench } from "../harness/pgbench.ts";
import {
  CONNECTIONS,
  createCallers,
  createYardstick,
  type OrderPlacer,
  PGBENCH_CLIENTS,
  type Run,
  type Spread,
} from "../orders/measure.ts";
import { measureOneProduct } from "../orders/one-product.ts";
import { assertInvariants, type OrderShop, openOrderShop } from "../orders/order-shop.ts";
import { measureQuotedOrders } from "../orders/quoted-orders.ts";
import { measureStockLock } from "../orders/stock-lock.ts";

const PRODUCTS = 20_000;
const STRATEGIES = ["combined", "pessimistic", "optimistic"] as const;
const SPREADS: readonly Spread[] = ["spread", "hot"];
const CALLERS = [16, 64, 300];
const ROUNDS = 3;
const SECONDS_PER_RUN = 4;
const WARM_UP_SECONDS = 4;
/** The callers by which throughput is compared with that of pgbench, and those by which tail latency is compared. */
const [COMPARED_CALLERS, MANY_CALLERS] = [64, 300];
/** Throughput of `combined` as a multiple of that of pgbench. */
const PGBENCH_GOALS = { spread: 1.5, hot: 5 };
/** The p99 of `combined` as a multiple of that of `pessimistic`. */
const P99_GOALS = { spread: 1, hot: 0.5 };

/** All runs of one placer with the same settings, one for each round. */
interface Series {
  placer: string;
  spread: Spread;
  callers: number;
  runs: Run[];
}

/** A placer that is opened in each round. */
interface Side {
  name: string;
  databaseUrl: string;
  callers: readonly number[];
  open(): Promise<OrderPlacer>;
}

/** Measures two replicas whose orders share one product, with the lock in Redis and without. */
export const stockLock: Part = async ({ products }) => {
  const shop = await openOrderShop(Math.min(PRODUCTS, products));
  try {
    return await measureStockLock(shop);
  } finally {
    await shop.close();
  }
};

/** Measures orders of two lines by each strategy against pgbench, then orders with a quote and orders of one product. */
export const orders: Part = async ({ products }) => {
  const pgbench = await findPgbench();
  const shop = await openOrderShop(Math.min(PRODUCTS, products));
  const load = await openDatabaseLoad(shop.serverUrl);
  try {
    return [
      await compareStrategies(shop, pgbench, load),
      await measureQuotedOrders(shop, load),
      await measureOneProduct(shop),
    ];
  } finally {
    await load.close();
    await shop.close();
  }
};

async function compareStrategies(shop: OrderShop, pgbench: string, load: DatabaseLoad): Promise<Measurement> {
  const pgbenchUrl = await shop.copy("orders_pgbench");
  const sides: Side[] = [
    {
      name: "pgbench",
      databaseUrl: pgbenchUrl,
      callers: [PGBENCH_CLIENTS],
      open: async () => createYardstick(pgbench, pgbenchUrl, shop.products, load),
    },
  ];
  for (const strategy of STRATEGIES) {
    const databaseUrl = await shop.copy(`orders_${strategy}`);
    const open = async () => {
      const service = await shop.start(databaseUrl, { STOCK_STRATEGY: strategy });
      return createCallers(strategy, service, shop.products, load);
    };
    sides.push({ name: strategy, databaseUrl, callers: CALLERS, open });
  }
  const series: Series[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    for (const side of sides) await measureSide(side, round, series);
  }
  for (const { name, databaseUrl } of sides) await assertInvariants(`the orders of ${name}`, databaseUrl);
  return report(shop, series);
}

/** Runs a side with each number of callers. It runs alone: the background work of others would delay it. */
async function measureSide(side: Side, round: number, series: Series[]): Promise<void> {
  const { name } = side;
  const placer = await side.open();
  try {
    console.log(`${round}/${ROUNDS} ${name}, warm-up ...`);
    for (const spread of SPREADS) {
      await placer.run({ spread, callers: COMPARED_CALLERS, seconds: WARM_UP_SECONDS });
    }
    for (const spread of SPREADS) {
      for (const callers of side.callers) {
        const run = await placer.run({ spread, callers, seconds: SECONDS_PER_RUN });
        const perSecond = formatNumber(Math.round(run.perSecond));
        console.log(`${round}/${ROUNDS} ${name}, ${spread}, ${callers} callers: ${perSecond} orders/s`);
        const existing = series.find(
          (one) => one.placer === name && one.spread === spread && one.callers === callers,
        );
        if (existing === undefined) series.push({ placer: name, spread, callers, runs: [run] });
        else existing.runs.push(run);
      }
    }
  } finally {
    await placer.close();
  }
}

function report({ products, stores }: OrderShop, series: readonly Series[]): Measurement {
  const goals = new Goals();
  const find = (placer: string, spread: Spread, callers: number) =>
    series.find((one) => one.placer === placer && one.spread === spread && one.callers === callers);
  const row = ({ placer, spread, callers, runs }: Series): string[] => {
    const isCombined = placer === "combined";
    const ofPgbench = ratioOf(runs, find("pgbench", spread, PGBENCH_CLIENTS)?.runs, (run) => run.perSecond);
    const ofPessimistic = ratioOf(runs, find("pessimistic", spread, callers)?.runs, (run) => run.p99);
    const name = `${placer}, ${spread}, ${callers} callers`;
    const throughputGoal =
      isCombined && callers === COMPARED_CALLERS
        ? goals.atLeast(`throughput of ${name}, of pgbench,`, ofPgbench, PGBENCH_GOALS[spread])
        : "";
    const latencyGoal =
      isCombined && callers === MANY_CALLERS
        ? goals.atMost(`p99 of ${name}, of pessimistic,`, ofPessimistic, P99_GOALS[spread])
        : "";
    const refused = runs.reduce((sum, run) => sum + run.refused, 0);
    return [
      `${placer}, ${spread}`,
      String(callers),
      medianOf(runs, (run) => Math.round(run.perSecond)),
      formatRatio(ofPgbench),
      throughputGoal,
      medianOf(runs, (run) => run.p50),
      medianOf(runs, (run) => run.p99),
      placer === "pgbench" ? "" : formatRatio(ofPessimistic),
      latencyGoal,
      medianOf(runs, (run) => Math.round(run.callerUs)),
      medianOf(runs, (run) => Math.round(run.serviceUs)),
      medianOf(runs, (run) => Math.round(run.postgresUs)),
      refused === 0 ? "" : `${formatNumber(refused)} (status ${refusedStatus(runs)})`,
    ];
  };
  const head = ["orders of two lines", "callers", "orders/s", "of pgbench", "goal", "p50 ms", "p99 ms"];
  const more = ["p99 of pessimistic", "goal", "caller us", "service us", "PostgreSQL us", "refused"];
  return {
    title: "Orders",
    notes: `${formatNumber(products)} products; each side has a copy of the same database on one server, with fsync. pgbench places orders of the same rows as nine statements in one transaction, prepared, with ${PGBENCH_CLIENTS} clients. The services receive CreateOrder over gRPC on ${CONNECTIONS} connections, with request_ids, validation, ledger, outbox and its consumers, ACCESS and LIMITS off. Spread orders have two random products; hot ones share one product. Closed loops; in each of ${ROUNDS} rounds each side is started, warmed up and measured alone, ${SECONDS_PER_RUN} s for each row; medians of the runs in which no order was refused, ratios within a round. The last columns are processor time for an order: of the load generator, of the service and of all PostgreSQL processes. After each run the number of stored orders was that of the acknowledged ones, and at the end all invariants held.`,
    rows: [
      [...head, ...more],
      ...SPREADS.flatMap((spread) => series.filter((one) => one.spread === spread).map(row)),
    ],
    missed: goals.missed,
    stores,
  };
}

/** Returns the median of the ratios to another series in the same round; NaN when no round counts. */
function ratioOf(
  runs: readonly Run[],
  others: readonly Run[] | undefined,
  value: (run: Run) => number,
): number {
  const ratios = runs.flatMap((run, round) => {
    const other = others?.[round];
    return other === undefined || run.refused + other.refused > 0 ? [] : [value(run) / value(other)];
  });
  return median(ratios);
}

const formatRatio = (ratio: number): string => (Number.isNaN(ratio) ? "" : formatNumber(ratio));

/** Returns the median of the runs without refusals. */
function medianOf(runs: readonly Run[], value: (run: Run) => number): string {
  const counted = runs.filter((run) => run.refused === 0).map(value);
  return counted.length === 0 ? "" : formatNumber(median(counted));
}

const refusedStatus = (runs: readonly Run[]): string =>
  runs.find((run) => run.refused > 0)?.refusedStatus ?? "";
