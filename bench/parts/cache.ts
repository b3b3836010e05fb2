import { CONNECTIONS, LOAD, repeat, repeatFor, runClosedLoop } from "../harness/closed-loop.ts";
import { type DatabaseLoad, openDatabaseLoad } from "../harness/database-load.ts";
import { type EncodedRequest, type GrpcClient, openGrpcClient } from "../harness/grpc-client.ts";
import { createRandom, createZipf, formatNumber, quantile } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";
import { listRequests, productRequests } from "../workload/traffic.ts";

const ROUNDS = 3;
const SECONDS_PER_ROUND = 4;
/** Calls for each request of the traffic that warm the cache up; as many measure the hit ratio afterwards. */
const WARM_UP_CALLS = 10;
const UNCACHED_WARM_UP_CALLS = 2_000;
const HITS = ["memory", "redis"];
const GOALS = { p50: 0.65, busy: 0.4, hits: 0.95, queries: 1 };

/** The results of a series of calls. */
class CallStats {
  readonly ms: number[] = [];
  readonly #states = new Map<string, number>();
  seconds = 0;
  busySeconds = 0;
  /** Of the first round only, because counting takes long. */
  queriesPer1000 = Number.NaN;

  record(ms: number, cache: string): void {
    this.ms.push(ms);
    this.#states.set(cache, (this.#states.get(cache) ?? 0) + 1);
  }

  share(...states: string[]): number {
    return states.reduce((sum, state) => sum + (this.#states.get(state) ?? 0), 0) / this.ms.length;
  }

  get callsPerSecond(): number {
    return this.ms.length / this.seconds;
  }

  get busyMsPer1000(): number {
    return (this.busySeconds / this.ms.length) * 1e6;
  }
}

/** Measures latency and database load of reads with the cache on and off. */
export const cache: Part = async ({ products, uncached, cached }) => {
  const [uncachedService, cachedService] = [await uncached(), await cached()];
  const [off, on] = [
    openGrpcClient(uncachedService.url, CONNECTIONS),
    openGrpcClient(cachedService.url, CONNECTIONS),
  ];
  const load = await openDatabaseLoad(uncachedService.databaseUrl);
  const goals = new Goals();
  const rows = [["16 concurrent calls", "cache on", "cache off", "on / off", "goal"]];
  const notes = [
    `${formatNumber(products)} products; two services on one database, measured in turn, ${ROUNDS} rounds of ${SECONDS_PER_ROUND} s each; ${LOAD}.`,
  ];
  const latencies = { names: [] as string[], on: [] as number[], off: [] as number[] };
  try {
    const traffic = [
      { name: "GetProduct", requests: productRequests(products) },
      { name: "ListProducts", requests: await listRequests(off, products) },
    ];
    // Measured first: cached lists expire after two minutes, so their rounds must not wait.
    const before = await load.transactions();
    const idleTransactions = (await load.transactions()) - before;
    for (const { name, requests } of traffic) {
      console.log(`${name} ...`);
      const result = await compare(on, off, requests, load, idleTransactions);
      rows.push(...report(name, result, goals));
      const { cold } = result;
      notes.push(
        `${name}: ${formatNumber(requests.length)} requests by Zipf's law. Of the first ${formatNumber(cold.ms.length)} calls on a cold cache (${formatNumber(cold.seconds)} s) ${percent(cold.share(...HITS))} were hits; the table shows the hits of the same number of calls after that. Then each remaining request was sent once before the rounds.`,
      );
      for (const share of [0.5, 0.95, 0.99]) {
        latencies.names.push(`${name} p${share * 100}`);
        latencies.on.push(quantile(result.on.ms, share));
        latencies.off.push(quantile(result.off.ms, share));
      }
    }
  } finally {
    for (const client of [on, off]) client.close();
    await load.close();
  }
  notes.push(
    "Queries are the transactions of the database during the first round (a read is one), less those of an idle period; busy time is the processor time of all PostgreSQL processes. A cached list expires after 2 minutes, a product after 15.",
  );
  const series = [
    { name: "cache on", values: latencies.on },
    { name: "cache off", values: latencies.off },
  ];
  return {
    title: "Cache on against cache off",
    notes: notes.join("\n"),
    rows,
    missed: goals.missed,
    plots: [{ name: "cache", title: "Latency of 16 concurrent calls, ms", groups: latencies.names, series }],
  };
};

/** The results of both sides of one method. */
interface Comparison {
  /** With the cache on: the first calls, and the same number of calls after them. */
  cold: CallStats;
  warm: CallStats;
  /** All rounds with the cache on and off. */
  on: CallStats;
  off: CallStats;
}

/** Warms both sides up and measures them in turn. */
async function compare(
  onClient: GrpcClient,
  offClient: GrpcClient,
  requests: EncodedRequest[],
  load: DatabaseLoad,
  idleTransactions: number,
): Promise<Comparison> {
  const next = createZipf(requests, createRandom(1));
  const [cold, warm, on, off] = [new CallStats(), new CallStats(), new CallStats(), new CallStats()];
  await runClosedLoop(offClient, repeat(UNCACHED_WARM_UP_CALLS, next));
  for (const stats of [cold, warm]) {
    stats.seconds = await runClosedLoop(
      onClient,
      repeat(WARM_UP_CALLS * requests.length, next),
      (_, ms, response) => stats.record(ms, response.cache),
    );
  }
  await runClosedLoop(onClient, requests);
  const round = async (client: GrpcClient, stats: CallStats) => {
    const busyBefore = await load.busySeconds();
    stats.seconds += await runClosedLoop(client, repeatFor(SECONDS_PER_ROUND, next), (_, ms, response) =>
      stats.record(ms, response.cache),
    );
    stats.busySeconds += (await load.busySeconds()) - busyBefore;
  };
  let before = await load.transactions();
  for (const [client, stats] of [
    [onClient, on],
    [offClient, off],
  ] as const) {
    await round(client, stats);
    const after = await load.transactions();
    stats.queriesPer1000 = (Math.max(0, after - before - idleTransactions) / stats.ms.length) * 1_000;
    before = after;
  }
  for (let more = 1; more < ROUNDS; more += 1) {
    await round(onClient, on);
    await round(offClient, off);
  }
  return { cold, warm, on, off };
}

/** Returns the table rows of one method. */
function report(name: string, { warm, on, off }: Comparison, goals: Goals): string[][] {
  const latencyRow = (share: number): string[] => {
    const [onMs, offMs] = [quantile(on.ms, share), quantile(off.ms, share)];
    const what = `${name} p${share * 100} ms`;
    const goal = share === 0.5 ? goals.atMost(`${what}, on / off,`, onMs / offMs, GOALS.p50) : "";
    return [what, onMs.toFixed(2), offMs.toFixed(2), (onMs / offMs).toFixed(3), goal];
  };
  const [onBusy, offBusy] = [on.busyMsPer1000, off.busyMsPer1000];
  const busyGoal = Number.isNaN(onBusy)
    ? ""
    : goals.atMost(`${name}, busy database, on / off,`, onBusy / offBusy, GOALS.busy);
  const hits = warm.share(...HITS);
  return [
    ...[0.5, 0.95, 0.99].map(latencyRow),
    [
      `${name} calls/s`,
      formatNumber(Math.round(on.callsPerSecond)),
      formatNumber(Math.round(off.callsPerSecond)),
      (on.callsPerSecond / off.callsPerSecond).toFixed(1),
      "",
    ],
    [
      `${name} hits (of them from Redis)`,
      `${percent(hits)} (${percent(warm.share("redis"))})`,
      "",
      "",
      goals.atLeast(`${name}, share of hits,`, hits, GOALS.hits),
    ],
    [`${name} cache bypasses`, percent(warm.share("bypass")), "100%", "", ""],
    [
      `${name} queries per 1,000 calls`,
      on.queriesPer1000.toFixed(2),
      formatNumber(Math.round(off.queriesPer1000)),
      "",
      goals.atMost(`${name}, queries per 1,000 calls,`, on.queriesPer1000, GOALS.queries),
    ],
    [
      `${name} database busy, ms per 1,000 calls`,
      onBusy.toFixed(1),
      offBusy.toFixed(1),
      (onBusy / offBusy).toFixed(3),
      busyGoal,
    ],
  ];
}

const percent = (share: number): string => `${(share * 100).toFixed(1)}%`;
