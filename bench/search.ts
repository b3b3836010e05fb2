import { openGauge } from "./gauge.ts";
import { CONNECTIONS, drive, LOAD, times } from "./load.ts";
import { createRandom, format, median, pick, quantile } from "./numbers.ts";
import { Goals, type Part } from "./part.ts";
import { KINDS, type QueryKind } from "./queries.ts";
import { listOf } from "./requests.ts";
import { isEmpty, openWire } from "./wire.ts";

const CALLS = 8_000;
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

/** How long searches take, all kinds at once and each by itself. */
export const search: Part = async ({ products, plain }) => {
  const { url, databaseUrl } = await plain();
  const wire = openWire(url, CONNECTIONS);
  const gauge = await openGauge(databaseUrl);
  const random = createRandom(1);
  const prepareOne = ({ what, next }: QueryKind) => {
    const init = next(random, products);
    return { ...listOf(init), kind: what, words: init.query };
  };
  const mixed = () => prepareOne(pick(KINDS, random));
  const searches: Search[] = [];
  const alone = new Map<string, { ms: number; busyMs: number }>();
  let seconds = 0;
  try {
    console.log(`${format(CALLS)} searches ...`);
    await drive(wire, times(WARM_UP_CALLS, mixed));
    seconds = await drive(wire, times(CALLS, mixed), ({ kind, words }, ms, answer) => {
      searches.push({ kind, words, ms, found: !isEmpty(answer) });
    });
    for (const kind of KINDS) {
      const ms: number[] = [];
      const busyBefore = await gauge.busySeconds();
      const requests = times(CALLS_ALONE, () => prepareOne(kind));
      await drive(wire, requests, (_, callMs) => ms.push(callMs), 1);
      const busyMs = (((await gauge.busySeconds()) - busyBefore) / CALLS_ALONE) * 1_000;
      alone.set(kind.what, { ms: median(ms), busyMs });
    }
  } finally {
    wire.close();
    await gauge.close();
  }
  const goals = new Goals();
  const row = (what: string, of: readonly Search[], goal: string) => {
    const found = of.filter((one) => one.found).length / of.length;
    const slowest = of.reduce((slow, one) => (one.ms > slow.ms ? one : slow)).words;
    const cells = [0.5, 0.95, 0.99].map((share) => at(of, share).toFixed(1));
    const { ms, busyMs } = alone.get(what) ?? {};
    return [what, ...cells, goal, shown(ms), shown(busyMs), `${Math.round(found * 100)}%`, `\`${slowest}\``];
  };
  const kinds = KINDS.map(({ what }) => ({ what, of: searches.filter(({ kind }) => kind === what) }));
  return {
    title: "Search",
    notes: `${format(products)} products, cache off; ListProducts with a query over gRPC, ${format(CALLS)} calls of all kinds in equal shares, ${format(Math.round(CALLS / seconds))} a second; ${LOAD}. Then ${CALLS_ALONE} of each kind one at a time: their median, and the processor time of PostgreSQL for each.`,
    rows: [
      ["query", "p50 ms", "p95 ms", "p99 ms", "goal", "alone ms", "PostgreSQL ms", "found", "slowest"],
      row("all", searches, goals.most("p99 of searches, ms,", at(searches, 0.99), GOAL_MS)),
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

const at = (searches: readonly Search[], share: number): number =>
  quantile(
    searches.map(({ ms }) => ms),
    share,
  );

const shown = (ms: number | undefined): string => (ms === undefined ? "" : ms.toFixed(2));
