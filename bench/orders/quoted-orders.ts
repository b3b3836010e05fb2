import type { DatabaseLoad } from "../harness/database-load.ts";
import { formatNumber, median } from "../harness/numbers.ts";
import { Goals, type Measurement } from "../harness/part.ts";
import { CONNECTIONS, createCallers, type Run } from "./measure.ts";
import { assertInvariants, type OrderShop } from "./order-shop.ts";

const CALLERS = [16, 64, 300];
const KINDS = ["spread", "quoted"] as const;
const ROUNDS = 3;
const SECONDS_PER_RUN = 4;
const WARM_UP_SECONDS = 4;
/** The callers by which the goal is measured. */
const COMPARED_CALLERS = 64;
/** Throughput of orders with a quote as a multiple of that of orders without one. */
const GOAL = 0.85;

/** Measures orders with an address, a shipping option and taxes against orders without them, on one service. */
export async function measureQuotedOrders(shop: OrderShop, load: DatabaseLoad): Promise<Measurement> {
  const databaseUrl = await shop.copy("orders_quoted");
  const placer = createCallers("quoted", await shop.start(databaseUrl, {}), shop.products, load);
  const runs = new Map<string, Run[]>();
  try {
    for (const spread of KINDS) {
      await placer.run({ spread, callers: COMPARED_CALLERS, seconds: WARM_UP_SECONDS });
    }
    for (let round = 1; round <= ROUNDS; round += 1) {
      for (const callers of CALLERS) {
        // In turn first and last.
        for (const spread of round % 2 === 1 ? KINDS : KINDS.toReversed()) {
          const run = await placer.run({ spread, callers, seconds: SECONDS_PER_RUN });
          console.log(
            `${round}/${ROUNDS} ${spread}, ${callers} callers: ${formatNumber(Math.round(run.perSecond))} orders/s`,
          );
          const key = `${spread} ${callers}`;
          runs.set(key, [...(runs.get(key) ?? []), run]);
        }
      }
    }
  } finally {
    await placer.close();
  }
  await assertInvariants("the orders with quotes", databaseUrl);
  return report(shop, runs);
}

function report({ products, stores }: OrderShop, runs: ReadonlyMap<string, readonly Run[]>): Measurement {
  const goals = new Goals();
  const rows = CALLERS.map((callers) => {
    const plain = runs.get(`spread ${callers}`) ?? [];
    const quoted = runs.get(`quoted ${callers}`) ?? [];
    const ratio = median(quoted.map((run, round) => run.perSecond / (plain[round]?.perSecond ?? Number.NaN)));
    const refused = [...plain, ...quoted].reduce((sum, run) => sum + run.refused, 0);
    if (refused > 0) goals.missed.push(`${refused} orders of ${callers} callers were refused`);
    const name = `throughput of orders with a quote, ${callers} callers, of those without,`;
    const medianOf = (some: readonly Run[], value: (run: Run) => number) =>
      formatNumber(median(some.map(value)));
    return [
      String(callers),
      medianOf(plain, (run) => Math.round(run.perSecond)),
      medianOf(quoted, (run) => Math.round(run.perSecond)),
      formatNumber(ratio),
      callers === COMPARED_CALLERS ? goals.atLeast(name, ratio, GOAL) : "",
      medianOf(plain, (run) => run.p99),
      medianOf(quoted, (run) => run.p99),
      medianOf(plain, (run) => Math.round(run.serviceUs)),
      medianOf(quoted, (run) => Math.round(run.serviceUs)),
      medianOf(plain, (run) => Math.round(run.postgresUs)),
      medianOf(quoted, (run) => Math.round(run.postgresUs)),
    ];
  });
  const head = ["callers", "plain orders/s", "with a quote", "ratio", "goal", "plain p99 ms", "with a quote"];
  const more = ["plain service us", "with a quote", "plain PostgreSQL us", "with a quote"];
  return {
    title: "Orders with a quote",
    notes: `${formatNumber(products)} products, STOCK_STRATEGY combined, orders of two random products by CreateOrder over gRPC on ${CONNECTIONS} connections, in turn without and with an address, an email and a shipping option, whose price and taxes are computed from the zones of the demo. ${ROUNDS} rounds of ${SECONDS_PER_RUN} s for each number, medians; ratios within a round. At the end all invariants held.`,
    rows: [[...head, ...more], ...rows],
    missed: goals.missed,
    stores,
  };
}
