import { setTimeout as delay } from "node:timers/promises";
import { withClient } from "../harness/databases.ts";
import { formatNumber, median, quantile } from "../harness/numbers.ts";
import type { Measurement } from "../harness/part.ts";
import type { Service } from "../harness/service.ts";
import { type LoadGenerator, startLoadGenerator } from "../load/load-generator.ts";
import { CONNECTIONS, HOT_PRODUCT } from "./measure.ts";
import { assertInvariants, CUSTOMERS, countOrders, type OrderShop } from "./order-shop.ts";

const REPLICAS = 2;
const LOCKS = ["off", "redis"] as const;
/** For each replica. */
const CALLERS = [16, 64, 150];
const ROUNDS = 5;
const WARM_UP_SECONDS = 3;
const SECONDS_PER_RUN = 4;
const SAMPLE_MS = 10;

type Lock = (typeof LOCKS)[number];

interface Run {
  lock: Lock;
  callers: number;
  perSecond: number;
  p50: number;
  p99: number;
  /** Connections of the services that wait for a lock, and those in a transaction, on average. */
  waiting: number;
  busy: number;
}

interface Replica {
  service: Service;
  generator: LoadGenerator;
}

/** Measures two replicas whose orders share one hot product, with the lock in Redis and without. */
export async function measureStockLock(shop: OrderShop): Promise<Measurement> {
  const databaseUrl = await shop.copy("orders_stock_lock");
  const runs: Run[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    // The sides alternate, also in which of them is first.
    for (const lock of round % 2 === 0 ? LOCKS.toReversed() : LOCKS) {
      for (const run of await measureSide(shop, databaseUrl, lock)) {
        runs.push(run);
        const { callers, perSecond, p99, waiting } = run;
        console.log(
          `${round}/${ROUNDS} STOCK_LOCK ${lock}, ${REPLICAS} x ${callers} callers: ${formatNumber(Math.round(perSecond))} orders/s, p99 ${formatNumber(p99)} ms, ${formatNumber(waiting)} waiting`,
        );
      }
    }
  }
  await assertInvariants("the orders of two replicas", databaseUrl);
  return report(shop, runs);
}

/** Starts the replicas and measures them with each number of callers. */
async function measureSide(shop: OrderShop, databaseUrl: string, lock: Lock): Promise<Run[]> {
  const replicas: Replica[] = [];
  try {
    for (let count = 0; count < REPLICAS; count += 1) {
      const service = await shop.start(databaseUrl, { STOCK_LOCK: lock });
      replicas.push({ service, generator: startLoadGenerator(service.url, CONNECTIONS) });
    }
    const order = (callers: number, seconds: number) => {
      const orders = { products: shop.products, customers: CUSTOMERS, hotProduct: HOT_PRODUCT };
      return Promise.all(
        replicas.map(({ generator }) => generator.run({ orders, callers, seconds, perSecond: 0 })),
      );
    };
    await order(Math.max(...CALLERS), WARM_UP_SECONDS);
    const runs: Run[] = [];
    for (const callers of CALLERS) {
      const before = await countOrders(databaseUrl);
      const [results, connections] = await whileSampled(databaseUrl, () => order(callers, SECONDS_PER_RUN));
      const ms = results.flatMap((result) => [...result.ms]);
      const failed = results.flatMap(({ failures }) => [...failures.keys()]);
      const stored = (await countOrders(databaseUrl)) - before;
      if (failed.length > 0 || stored !== ms.length) {
        throw new Error(`${ms.length} orders were acknowledged, ${stored} stored, failures: ${failed}`);
      }
      const perSecond = results.reduce((sum, result) => sum + result.ms.length / result.seconds, 0);
      runs.push({
        lock,
        callers,
        perSecond,
        p50: quantile(ms, 0.5),
        p99: quantile(ms, 0.99),
        ...connections,
      });
    }
    return runs;
  } finally {
    for (const { generator, service } of replicas) {
      await generator.close();
      await service.close();
    }
  }
}

/** Samples the connections of the services while `work` runs. */
async function whileSampled<T>(
  databaseUrl: string,
  work: () => Promise<T>,
): Promise<[T, Pick<Run, "waiting" | "busy">]> {
  return withClient(databaseUrl, async (client) => {
    const samples: { waiting: number; busy: number }[] = [];
    let isDone = false;
    const running = work().finally(() => {
      isDone = true;
    });
    while (!isDone) {
      const { rows } = await client.query<{ waiting: number; busy: number }>(`
        select count(*) filter (where wait_event_type = 'Lock')::int as waiting,
          count(*) filter (where state <> 'idle')::int as busy
        from pg_stat_activity where datname = current_database() and application_name = 'cartwright'`);
      samples.push(...rows);
      await delay(SAMPLE_MS);
    }
    const mean = (value: (sample: { waiting: number; busy: number }) => number) =>
      samples.reduce((sum, sample) => sum + value(sample), 0) / samples.length;
    return [await running, { waiting: mean(({ waiting }) => waiting), busy: mean(({ busy }) => busy) }];
  });
}

function report({ products, stores }: OrderShop, runs: readonly Run[]): Measurement {
  const head = ["callers of each replica", "STOCK_LOCK", "orders/s", "of off", "p50 ms", "p99 ms", "of off"];
  const rows = CALLERS.flatMap((callers) =>
    LOCKS.map((lock) => {
      const own = runs.filter((run) => run.lock === lock && run.callers === callers);
      const off = runs.filter((run) => run.lock === "off" && run.callers === callers);
      const value = (of: (run: Run) => number) => formatNumber(median(own.map(of)));
      const ratio = (of: (run: Run) => number) =>
        formatNumber(median(own.map((run, round) => of(run) / of(off[round] ?? run))));
      return [
        String(callers),
        lock,
        value((run) => Math.round(run.perSecond)),
        ratio((run) => run.perSecond),
        value((run) => run.p50),
        value((run) => run.p99),
        ratio((run) => run.p99),
        value((run) => run.waiting),
        value((run) => run.busy),
      ];
    }),
  );
  return {
    title: "Orders of two replicas with a lock in Redis",
    notes: `${formatNumber(products)} products; ${REPLICAS} replicas on one database and one Redis, each with a load generator in a closed loop over gRPC; orders of two lines, one of them the same product in each order. In each of ${ROUNDS} rounds the replicas are started, warmed up and measured with the lock and without, ${SECONDS_PER_RUN} s for each row, alternately first; medians, ratios within a round. The last columns are the mean numbers of connections that wait for a lock of PostgreSQL, and of those in a transaction. After each run the number of stored orders was that of the acknowledged ones, and at the end all invariants held.`,
    rows: [[...head, "waiting connections", "busy connections"], ...rows],
    missed: [],
    stores,
  };
}
