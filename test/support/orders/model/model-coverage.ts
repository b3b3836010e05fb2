import type { Fault, ShopRun, StoredShop } from "./shop-run.ts";

/** What the runs of a check have reached, with the number of times. */
export interface ModelCoverage {
  runs: number;
  /** Methods with their outcomes, such as "CreateOrder OK" and "ShipOrder STALE_ETAG". */
  outcomes: Record<string, number>;
  /** Types of the events of the stored orders. */
  events: Record<string, number>;
  /** Kinds of the faults that have occurred, with their moment, such as "kill worker before". */
  faults: Record<string, number>;
}

/** Returns the coverage of no run. */
export function emptyCoverage(): ModelCoverage {
  return { runs: 0, outcomes: {}, events: {}, faults: {} };
}

/** Returns a run whose outcomes are counted. */
export function countOutcomes(run: ShopRun, { outcomes }: ModelCoverage): ShopRun {
  return {
    ...run,
    async call(operation, replica, ids) {
      const observation = await run.call(operation, replica, ids);
      const { outcome } = observation;
      let name = "unknown";
      if (outcome !== undefined) name = "reason" in outcome ? String(outcome.reason) : "OK";
      if (outcome !== undefined && "replayed" in outcome && outcome.replayed === true) name = "replayed";
      add(outcomes, `${operation.method} ${name}`);
      return observation;
    },
  };
}

/** Counts a run, the events of the orders that it has left, and the faults that occurred in it. */
export function countRun(coverage: ModelCoverage, stored: StoredShop, occurred: readonly Fault[]): void {
  const { events, faults } = coverage;
  coverage.runs += 1;
  const orders = Object.values(stored.orders).flat();
  for (const type of orders.flatMap((order) => order.events)) add(events, type);
  for (const fault of occurred) add(faults, "moment" in fault ? `${fault.kind} ${fault.moment}` : fault.kind);
}

/** Returns the sums of several checks. */
export function addCoverage(checks: readonly ModelCoverage[]): ModelCoverage {
  const sum = emptyCoverage();
  for (const check of checks) {
    sum.runs += check.runs;
    for (const kind of ["outcomes", "events", "faults"] as const) {
      for (const [name, count] of Object.entries(check[kind])) add(sum[kind], name, count);
    }
  }
  return sum;
}

function add(counts: Record<string, number>, name: string, count = 1): void {
  counts[name] = (counts[name] ?? 0) + count;
}
