import { CONNECTIONS, LOAD, repeat, runClosedLoop } from "../harness/closed-loop.ts";
import { openDatabaseLoad } from "../harness/database-load.ts";
import { isEmpty, openGrpcClient } from "../harness/grpc-client.ts";
import { createRandom, createZipf, formatNumber, median, pick, quantile } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";
import { listRequest } from "../workload/requests.ts";
import { QUERY_KINDS, type QueryKind } from "../workload/search-queries.ts";

const CALLS = 3_000;
const WARM_UP_CALLS = 800;
const CALLS_ALONE = 100;
/** The goals for the 99th percentile, in milliseconds: of searches of visitors, and of others with the cache off. */
const GOALS_MS = { visitors: 50, uncached: 150 };

/** A completed search. */
interface Search {
  kind: string;
  words: string;
  ms: number;
  found: boolean;
}

/** The number of different searches of visitors, and of their calls. */
const DISTINCT_SEARCHES = 5_000;
const VISITS = 10_000;

/** Measures searches as visitors make them with the cache, then without it: all kinds mixed, and each kind alone. */
export const search: Part = async ({ products, uncached, cached }) => {
  const visits = await searchAsVisitors((await cached()).url, products);
  const { url, databaseUrl } = await uncached();
  const client = openGrpcClient(url, CONNECTIONS);
  const load = await openDatabaseLoad(databaseUrl);
  const random = createRandom(1);
  const nextRequest = ({ name: what, next }: QueryKind) => {
    const init = next(random, products);
    return { ...listRequest(init), kind: what, words: init.query };
  };
  const mixed = () => nextRequest(pick(QUERY_KINDS, random));
  const searches: Search[] = [];
  const alone = new Map<string, { ms: number; busyMs: number }>();
  let seconds = 0;
  try {
    console.log(`${formatNumber(CALLS)} searches ...`);
    await runClosedLoop(client, repeat(WARM_UP_CALLS, mixed));
    seconds = await runClosedLoop(client, repeat(CALLS, mixed), ({ kind, words }, ms, response) => {
      searches.push({ kind, words, ms, found: !isEmpty(response) });
    });
    for (const kind of QUERY_KINDS) {
      const ms: number[] = [];
      const busyBefore = await load.busySeconds();
      const requests = repeat(CALLS_ALONE, () => nextRequest(kind));
      await runClosedLoop(client, requests, (_, callMs) => ms.push(callMs), 1);
      const busyMs = (((await load.busySeconds()) - busyBefore) / CALLS_ALONE) * 1_000;
      alone.set(kind.name, { ms: median(ms), busyMs });
    }
  } finally {
    client.close();
    await load.close();
  }
  const goals = new Goals();
  const checkGoal = (whose: string, of: readonly Search[], goalMs: number) =>
    goals.atMost(`p99 of searches ${whose}, ms,`, latencyAt(of, 0.99), goalMs);
  const row = (what: string, of: readonly Search[], goal: string) => {
    const found = of.filter((one) => one.found).length / of.length;
    const slowest = of.reduce((slow, one) => (one.ms > slow.ms ? one : slow)).words;
    const cells = [0.5, 0.95, 0.99].map((share) => latencyAt(of, share).toFixed(1));
    const { ms, busyMs } = alone.get(what) ?? {};
    return [
      what,
      ...cells,
      goal,
      formatMs(ms),
      formatMs(busyMs),
      `${Math.round(found * 100)}%`,
      `\`${slowest}\``,
    ];
  };
  const kinds = QUERY_KINDS.map(({ name: what }) => ({
    what,
    of: searches.filter(({ kind }) => kind === what),
  }));
  return {
    title: "Search",
    notes: `${formatNumber(products)} products; ListProducts with a query over gRPC, ${LOAD}. First the searches of visitors, with the cache on: ${formatNumber(VISITS)} calls for ${formatNumber(DISTINCT_SEARCHES)} different searches by Zipf's law, after the same number to warm up; ${formatNumber(visits.hits * 100)}% came from the cache. Then with the cache off: ${formatNumber(CALLS)} calls, ${formatNumber(Math.round(CALLS / seconds))} a second, and ${CALLS_ALONE} of each kind one at a time: the median and the processor time of PostgreSQL for one. All kinds have equal shares.`,
    rows: [
      ["query", "p50 ms", "p95 ms", "p99 ms", "goal", "alone ms", "PostgreSQL ms", "found", "slowest"],
      row("of visitors", visits.searches, checkGoal("of visitors", visits.searches, GOALS_MS.visitors)),
      row("cache off", searches, checkGoal("with the cache off", searches, GOALS_MS.uncached)),
      ...kinds.map(({ what, of }) => row(what, of, "")),
    ],
    missed: goals.missed,
    plots: [
      {
        name: "search",
        title: "Search by kind of query, 16 concurrent, ms",
        groups: kinds.map(({ what }) => what),
        series: [0.5, 0.99].map((share) => ({
          name: `p${share * 100}`,
          values: kinds.map(({ of }) => latencyAt(of, share)),
        })),
      },
    ],
  };
};

/** Runs the searches of visitors. Returns them with the share of cache hits. */
async function searchAsVisitors(
  url: string,
  products: number,
): Promise<{ searches: Search[]; hits: number }> {
  const client = openGrpcClient(url, CONNECTIONS);
  const random = createRandom(3);
  const distinct = Array.from({ length: DISTINCT_SEARCHES }, () => {
    const kind = pick(QUERY_KINDS, random);
    const init = kind.next(random, products);
    return { ...listRequest(init), kind: kind.name, words: init.query };
  });
  const next = createZipf(distinct, random);
  const searches: Search[] = [];
  let hits = 0;
  try {
    console.log(`${formatNumber(2 * VISITS)} searches of visitors ...`);
    await runClosedLoop(client, repeat(VISITS, next));
    await runClosedLoop(client, repeat(VISITS, next), ({ kind, words }, ms, response) => {
      searches.push({ kind, words, ms, found: !isEmpty(response) });
      if (response.cache === "memory" || response.cache === "redis") hits += 1;
    });
  } finally {
    client.close();
  }
  return { searches, hits: hits / searches.length };
}

const latencyAt = (searches: readonly Search[], share: number): number =>
  quantile(
    searches.map(({ ms }) => ms),
    share,
  );

const formatMs = (ms: number | undefined): string => (ms === undefined ? "" : ms.toFixed(2));
