import { CONNECTIONS, drive, LOAD, times } from "../harness/closed-loop.ts";
import { openDatabaseLoad } from "../harness/database-load.ts";
import { isEmpty, openGrpcClient } from "../harness/grpc-client.ts";
import { createRandom, createZipf, formatNumber, median, pick, quantile } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";
import { listRequest } from "../workload/requests.ts";
import { QUERY_KINDS, type QueryKind } from "../workload/search-queries.ts";

const CALLS = 3_000;
const WARM_UP_CALLS = 800;
const CALLS_ALONE = 100;
/** What 99 of 100 searches may take at most, milliseconds. */
const GOAL_MS = 50;

/** A search that was answered. */
interface Search {
  kind: string;
  words: string;
  ms: number;
  found: boolean;
}

/** Searches of visitors: so many different ones, the most wanted first, and how often they are made. */
const WANTED = 5_000;
const VISITS = 10_000;

/** How long searches take: as visitors make them, then with the cache off, all kinds at once and each by itself. */
export const search: Part = async ({ products, plain, cached }) => {
  const visits = await visit((await cached()).url, products);
  const { url, databaseUrl } = await plain();
  const client = openGrpcClient(url, CONNECTIONS);
  const load = await openDatabaseLoad(databaseUrl);
  const random = createRandom(1);
  const prepareOne = ({ name: what, next }: QueryKind) => {
    const init = next(random, products);
    return { ...listRequest(init), kind: what, words: init.query };
  };
  const mixed = () => prepareOne(pick(QUERY_KINDS, random));
  const searches: Search[] = [];
  const alone = new Map<string, { ms: number; busyMs: number }>();
  let seconds = 0;
  try {
    console.log(`${formatNumber(CALLS)} searches ...`);
    await drive(client, times(WARM_UP_CALLS, mixed));
    seconds = await drive(client, times(CALLS, mixed), ({ kind, words }, ms, answer) => {
      searches.push({ kind, words, ms, found: !isEmpty(answer) });
    });
    for (const kind of QUERY_KINDS) {
      const ms: number[] = [];
      const busyBefore = await load.busySeconds();
      const requests = times(CALLS_ALONE, () => prepareOne(kind));
      await drive(client, requests, (_, callMs) => ms.push(callMs), 1);
      const busyMs = (((await load.busySeconds()) - busyBefore) / CALLS_ALONE) * 1_000;
      alone.set(kind.name, { ms: median(ms), busyMs });
    }
  } finally {
    client.close();
    await load.close();
  }
  const goals = new Goals();
  const held = (whose: string, of: readonly Search[]) =>
    goals.atMost(`p99 of searches ${whose}, ms,`, at(of, 0.99), GOAL_MS);
  const row = (what: string, of: readonly Search[], goal: string) => {
    const found = of.filter((one) => one.found).length / of.length;
    const slowest = of.reduce((slow, one) => (one.ms > slow.ms ? one : slow)).words;
    const cells = [0.5, 0.95, 0.99].map((share) => at(of, share).toFixed(1));
    const { ms, busyMs } = alone.get(what) ?? {};
    return [what, ...cells, goal, shown(ms), shown(busyMs), `${Math.round(found * 100)}%`, `\`${slowest}\``];
  };
  const kinds = QUERY_KINDS.map(({ name: what }) => ({
    what,
    of: searches.filter(({ kind }) => kind === what),
  }));
  return {
    title: "Search",
    notes: `${formatNumber(products)} products; ListProducts with a query over gRPC, ${LOAD}. First as visitors search, with the cache on: ${formatNumber(VISITS)} calls for ${formatNumber(WANTED)} different searches by Zipf's law, after as many to warm up; ${formatNumber(visits.hits * 100)}% came from the cache. Then with the cache off: ${formatNumber(CALLS)} calls, ${formatNumber(Math.round(CALLS / seconds))} a second, and ${CALLS_ALONE} of each kind one at a time: their median, and the processor time of PostgreSQL for each. All kinds have equal shares.`,
    rows: [
      ["query", "p50 ms", "p95 ms", "p99 ms", "goal", "alone ms", "PostgreSQL ms", "found", "slowest"],
      row("of visitors", visits.searches, held("of visitors", visits.searches)),
      row("cache off", searches, held("with the cache off", searches)),
      ...kinds.map(({ what, of }) => row(what, of, "")),
    ],
    missed: goals.missed,
    plots: [
      {
        name: "search",
        title: "Search by kind of query, 16 at once, ms",
        groups: kinds.map(({ what }) => what),
        series: [0.5, 0.99].map((share) => ({
          name: `p${share * 100}`,
          values: kinds.map(({ of }) => at(of, share)),
        })),
      },
    ],
  };
};

/** Makes the searches of visitors, and tells what became of them. */
async function visit(url: string, products: number): Promise<{ searches: Search[]; hits: number }> {
  const client = openGrpcClient(url, CONNECTIONS);
  const random = createRandom(3);
  const wanted = Array.from({ length: WANTED }, () => {
    const kind = pick(QUERY_KINDS, random);
    const init = kind.next(random, products);
    return { ...listRequest(init), kind: kind.name, words: init.query };
  });
  const next = createZipf(wanted, random);
  const searches: Search[] = [];
  let hits = 0;
  try {
    console.log(`${formatNumber(2 * VISITS)} searches of visitors ...`);
    await drive(client, times(VISITS, next));
    await drive(client, times(VISITS, next), ({ kind, words }, ms, answer) => {
      searches.push({ kind, words, ms, found: !isEmpty(answer) });
      if (answer.cache === "memory" || answer.cache === "redis") hits += 1;
    });
  } finally {
    client.close();
  }
  return { searches, hits: hits / searches.length };
}

const at = (searches: readonly Search[], share: number): number =>
  quantile(
    searches.map(({ ms }) => ms),
    share,
  );

const shown = (ms: number | undefined): string => (ms === undefined ? "" : ms.toFixed(2));
