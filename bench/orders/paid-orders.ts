import type { DatabaseLoad } from "../harness/database-load.ts";
import { openGrpcClient } from "../harness/grpc-client.ts";
import { formatNumber, median, quantile } from "../harness/numbers.ts";
import { Goals, type Measurement } from "../harness/part.ts";
import { readProcess } from "../harness/process-stat.ts";
import { CONNECTIONS } from "./measure.ts";
import { assertInvariants, CUSTOMERS, type OrderShop } from "./order-shop.ts";
import { type PayOptions, payOrders } from "./pay-orders.ts";

const CALLERS = [16, 64];
const ROUNDS = 3;
const SECONDS_PER_RUN = 6;
const WARM_UP_SECONDS = 6;
/** The callers by which the goal is measured. */
const COMPARED_CALLERS = 64;
/** Paid orders a second. */
const GOAL = 300;
/** Payments are captured with the order, so that they are complete without a shipment. */
const SETTINGS = { PAYMENT_GATEWAY: "sandbox", PAYMENT_CAPTURE: "order" };

interface Run {
  callers: number;
  perSecond: number;
  p50: number;
  p99: number;
  drainMs: number;
  /** Processor time for a paid order, in microseconds. */
  callerUs: number;
  serviceUs: number;
  postgresUs: number;
}

/** Measures orders that are paid in the sandbox, until their webhooks are applied. */
export async function measurePaidOrders(shop: OrderShop, load: DatabaseLoad): Promise<Measurement> {
  const databaseUrl = await shop.copy("orders_paid");
  const service = await shop.start(databaseUrl, SETTINGS);
  const client = openGrpcClient(service.url, CONNECTIONS);
  const options = { client, databaseUrl, products: shop.products, customers: CUSTOMERS };
  const busySeconds = async () => ({
    service: (await readProcess(service.pid))?.busySeconds ?? Number.NaN,
    postgres: await load.busySeconds(),
  });
  const runs: Run[] = [];
  try {
    console.log("warm-up ...");
    await payOrders({ ...options, callers: COMPARED_CALLERS, seconds: WARM_UP_SECONDS });
    for (let round = 1; round <= ROUNDS; round += 1) {
      for (const callers of CALLERS) {
        const run = await measure({ ...options, callers, seconds: SECONDS_PER_RUN }, busySeconds);
        const perSecond = formatNumber(Math.round(run.perSecond));
        console.log(`${round}/${ROUNDS} ${callers} callers: ${perSecond} paid orders/s`);
        runs.push(run);
      }
    }
  } finally {
    client.close();
    await service.close();
  }
  await assertInvariants("the paid orders", databaseUrl);
  return report(shop, runs);
}

async function measure(
  options: PayOptions,
  busySeconds: () => Promise<{ service: number; postgres: number }>,
): Promise<Run> {
  const [before, cpu] = [await busySeconds(), process.cpuUsage()];
  const { ms, seconds, drainMs } = await payOrders(options);
  const [after, own] = [await busySeconds(), process.cpuUsage(cpu)];
  const perOrderUs = (busy: number) => (busy / ms.length) * 1e6;
  return {
    callers: options.callers,
    perSecond: ms.length / seconds,
    p50: quantile(ms, 0.5),
    p99: quantile(ms, 0.99),
    drainMs,
    callerUs: (own.user + own.system) / ms.length,
    serviceUs: perOrderUs(after.service - before.service),
    postgresUs: perOrderUs(after.postgres - before.postgres),
  };
}

function report({ products, stores }: OrderShop, runs: readonly Run[]): Measurement {
  const goals = new Goals();
  const rows = CALLERS.map((callers) => {
    const own = runs.filter((run) => run.callers === callers);
    const medianOf = (value: (run: Run) => number) => median(own.map(value));
    const perSecond = medianOf((run) => run.perSecond);
    const goal = callers === COMPARED_CALLERS ? goals.atLeast("paid orders a second", perSecond, GOAL) : "";
    return [
      String(callers),
      formatNumber(Math.round(perSecond)),
      goal,
      formatNumber(medianOf((run) => run.p50)),
      formatNumber(medianOf((run) => run.p99)),
      formatNumber(Math.round(medianOf((run) => run.drainMs))),
      ...(["callerUs", "serviceUs", "postgresUs"] as const).map((name) =>
        formatNumber(Math.round(medianOf((run) => run[name]))),
      ),
    ];
  });
  const head = ["callers", "paid orders/s", "goal", "p50 ms", "p99 ms", "last webhook ms"];
  return {
    title: "Paid orders",
    notes: `${formatNumber(products)} products; CreateOrder of two random products and CreatePayment with sandbox_ok over gRPC on ${CONNECTIONS} connections in a closed loop, PAYMENT_CAPTURE=order. Webhooks are posted to the service over HTTP with their signatures, stored and applied. The time includes the last webhook, which is applied after the last response; the latencies are those of both calls together. ${ROUNDS} rounds of ${SECONDS_PER_RUN} s for each row, medians. The last columns are processor time for a paid order: of the callers, of the service and of all PostgreSQL processes. After each run all orders are CONFIRMED and PAID by their ledger, and at the end all invariants held.`,
    rows: [[...head, "caller us", "service us", "PostgreSQL us"], ...rows],
    missed: goals.missed,
    stores,
  };
}
