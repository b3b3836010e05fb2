import { CONNECTIONS, LOAD, repeatFor, runClosedLoop } from "../harness/closed-loop.ts";
import { openGrpcClient } from "../harness/grpc-client.ts";
import { createRandom, createZipf, formatNumber, median } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";
import { openSignedInClient } from "../harness/signed-in-client.ts";
import { productRequests } from "../workload/traffic.ts";

const ROUNDS = 9;
const SECONDS_PER_ROUND = 3;
const PRODUCTS = 200;
/** The share of the throughput of a cached read that must remain. */
const GOALS = { limits: 0.9, access: 0.95 };
/** Budgets that are counted and never exhausted. */
const LARGE_BUDGETS = { LIMITS: "on", LIMIT_READ: "999999999/60", LIMIT_AUTH: "1000/60" };

/** Measures the cost of access control and rate limits on a cached read. */
export const access: Part = async ({ products, startReplica }) => {
  const unrestricted = await startReplica({});
  const signedIn = await startReplica({ ACCESS: "on" });
  const limited = await startReplica(LARGE_BUDGETS);
  const both = await startReplica({ ACCESS: "on", ...LARGE_BUDGETS });
  const sides = [
    { name: "neither", client: openGrpcClient(unrestricted.url, CONNECTIONS), goal: undefined },
    { name: "limits", client: openGrpcClient(limited.url, CONNECTIONS), goal: GOALS.limits },
    { name: "access, with a token", client: await openSignedInClient(signedIn), goal: GOALS.access },
    { name: "both, with a token", client: await openSignedInClient(both), goal: undefined },
  ];
  const requests = productRequests(products).slice(0, PRODUCTS);
  const next = createZipf(requests, createRandom(1));
  const perSecond = sides.map((): number[] => []);
  try {
    // Fills the cache and warms up the compiler before the rounds.
    for (const { client } of sides) {
      await runClosedLoop(client, requests);
      await runClosedLoop(client, repeatFor(SECONDS_PER_ROUND, next));
    }
    for (let round = 0; round < ROUNDS; round += 1) {
      // Rotates the order, so that each side is first equally often.
      for (let turn = 0; turn < sides.length; turn += 1) {
        const index = (round + turn) % sides.length;
        let calls = 0;
        const seconds = await runClosedLoop(
          sides[index]?.client ?? fail(),
          repeatFor(SECONDS_PER_ROUND, next),
          () => {
            calls += 1;
          },
        );
        perSecond[index]?.push(calls / seconds);
      }
    }
  } finally {
    for (const { client } of sides) client.close();
  }
  const goals = new Goals();
  const rows = sides.map(({ name, goal }, index) => {
    const ratios = (perSecond[index] ?? []).map(
      (calls, round) => calls / (perSecond[0]?.[round] ?? Number.NaN),
    );
    const ratio = median(ratios);
    const what = `throughput with ${name} to without`;
    return [
      name,
      formatNumber(median(perSecond[index] ?? [])),
      formatNumber(ratio),
      goal === undefined ? "" : goals.atLeast(what, ratio, goal),
    ];
  });
  return {
    title: "Access and limits",
    notes: `GetProduct from the cache, ${PRODUCTS} products by Zipf's law over gRPC; ${LOAD}. Four services on one database and one Redis, measured in turn, ${ROUNDS} rounds of ${SECONDS_PER_ROUND} s each; the medians. A token is verified once and then cached; each call checks its budget in Redis.`,
    rows: [["enforced", "calls/s", "against neither", "goal"], ...rows],
    missed: goals.missed,
  };
};

function fail(): never {
  throw new RangeError("The side does not exist.");
}
