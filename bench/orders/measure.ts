import { availableParallelism } from "node:os";
import { join } from "node:path";
import { StartupError } from "../../src/kernel/errors.ts";
import type { DatabaseLoad } from "../harness/database-load.ts";
import { quantile } from "../harness/numbers.ts";
import { runPgbench } from "../harness/pgbench.ts";
import { readProcess } from "../harness/process-stat.ts";
import type { Service } from "../harness/service.ts";
import { startLoadGenerator } from "../load/load-generator.ts";
import { CUSTOMERS, countOrders } from "./order-shop.ts";

/** The clients of pgbench, on threads of their own. */
export const PGBENCH_CLIENTS = 16;
const SCRIPT = join(import.meta.dirname, "nine-statements.sql");
/** The connections that the callers of a service share. */
export const CONNECTIONS = 4;

/** The products of the orders of a run: random ones, or one in each order. */
export type Spread = "spread" | "hot";
/** The orders of a run: without a quote, or on random products with one. */
export type OrderKind = Spread | "quoted";
/** The product that is in each order of a hot run. */
export const HOT_PRODUCT = 1;

/** The settings of a run. */
export interface RunOptions {
  spread: OrderKind;
  callers: number;
  seconds: number;
}

/** What a run measured. */
export interface Run {
  perSecond: number;
  p50: number;
  p99: number;
  /** Processor time for an order, in microseconds. */
  callerUs: number;
  serviceUs: number;
  postgresUs: number;
  /** The number of calls that were not acknowledged, and one of their gRPC statuses. */
  refused: number;
  refusedStatus: string;
}

/** Something that places orders. */
export interface OrderPlacer {
  /** @throws StartupError when acknowledged orders are missing, or others are stored */
  run(options: RunOptions): Promise<Run>;
  close(): Promise<void>;
}

/** Creates the yardstick: pgbench on a database of its own. */
export function createYardstick(
  pgbench: string,
  databaseUrl: string,
  products: number,
  load: DatabaseLoad,
): OrderPlacer {
  const variables = { products, customers: CUSTOMERS };
  return {
    run: ({ spread, seconds }) =>
      counted("pgbench", databaseUrl, async () => {
        const before = await load.busySeconds();
        const hot = spread === "hot" ? HOT_PRODUCT : 0;
        const { ms, perSecond, busySeconds } = await runPgbench(pgbench, {
          databaseUrl,
          script: SCRIPT,
          clients: PGBENCH_CLIENTS,
          threads: availableParallelism(),
          seconds,
          variables: { ...variables, hot },
        });
        const postgresSeconds = (await load.busySeconds()) - before;
        const times = { callerSeconds: busySeconds, serviceSeconds: 0, postgresSeconds };
        return summarize(ms, new Map(), perSecond, times);
      }),
    close: async () => {},
  };
}

/** Creates callers of a service in a process of their own. They close the service too. */
export function createCallers(
  name: string,
  service: Service,
  products: number,
  load: DatabaseLoad,
): OrderPlacer {
  const { url, pid, databaseUrl } = service;
  const generator = startLoadGenerator(url, CONNECTIONS);
  const serviceSeconds = async () => (await readProcess(pid))?.busySeconds ?? Number.NaN;
  return {
    run: ({ spread, callers, seconds }) =>
      counted(name, databaseUrl, async () => {
        const before = { service: await serviceSeconds(), postgres: await load.busySeconds() };
        const hotProduct = spread === "hot" ? HOT_PRODUCT : undefined;
        const orders = { products, customers: CUSTOMERS, hotProduct, isQuoted: spread === "quoted" };
        const result = await generator.run({ orders, callers, seconds, perSecond: 0 });
        const times = {
          callerSeconds: result.busySeconds,
          serviceSeconds: (await serviceSeconds()) - before.service,
          postgresSeconds: (await load.busySeconds()) - before.postgres,
        };
        return summarize(result.ms, result.failures, result.ms.length / result.seconds, times);
      }),
    async close() {
      await generator.close();
      await service.close();
    },
  };
}

interface BusyTimes {
  callerSeconds: number;
  serviceSeconds: number;
  postgresSeconds: number;
}

function summarize(
  latencies: Float64Array,
  failures: ReadonlyMap<string, number>,
  perSecond: number,
  { callerSeconds, serviceSeconds, postgresSeconds }: BusyTimes,
): Run & { acknowledged: number } {
  const ms = [...latencies];
  const perOrderUs = (seconds: number) => (seconds / ms.length) * 1e6;
  return {
    acknowledged: ms.length,
    perSecond,
    p50: quantile(ms, 0.5),
    p99: quantile(ms, 0.99),
    callerUs: perOrderUs(callerSeconds),
    serviceUs: perOrderUs(serviceSeconds),
    postgresUs: perOrderUs(postgresSeconds),
    refused: [...failures.values()].reduce((sum, count) => sum + count, 0),
    refusedStatus: [...failures.keys()][0] ?? "",
  };
}

/**
 * Runs `work` and compares the number of stored orders with that of the acknowledged ones. Calls that failed, such as by
 * their deadline, may have stored an order too.
 */
async function counted(
  name: string,
  databaseUrl: string,
  work: () => Promise<Run & { acknowledged: number }>,
): Promise<Run> {
  const before = await countOrders(databaseUrl);
  const run = await work();
  const stored = (await countOrders(databaseUrl)) - before;
  if (stored < run.acknowledged || stored > run.acknowledged + run.refused) {
    throw new StartupError(`${name} acknowledged ${run.acknowledged} orders, and ${stored} are stored.`);
  }
  return run;
}
