import { randomUUID } from "node:crypto";
import { CONNECTIONS, drive, during, LOAD } from "../harness/closed-loop.ts";
import { type GrpcClient, openGrpcClient } from "../harness/grpc-client.ts";
import { createRandom, createZipf, formatNumber, median } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";
import type { Service } from "../harness/service.ts";
import { productRequests } from "../workload/traffic.ts";

const ROUNDS = 9;
const SECONDS_A_ROUND = 3;
const PRODUCTS = 200;
/** What of a cached read's throughput must be left. */
const GOALS = { limits: 0.9, access: 0.95 };
/** Nobody comes to the end of it, and everyone is counted. */
const AMPLE = { LIMITS: "on", LIMIT_READ: "999999999/60", LIMIT_AUTH: "1000/60" };

/** What it costs a cached read to be held to access, to a budget, and to both. */
export const access: Part = async ({ products, beside }) => {
  const open = await beside({});
  const signedIn = await beside({ ACCESS: "on" });
  const limited = await beside(AMPLE);
  const both = await beside({ ACCESS: "on", ...AMPLE });
  const sides = [
    { name: "neither", client: openGrpcClient(open.url, CONNECTIONS), goal: undefined },
    { name: "limits", client: openGrpcClient(limited.url, CONNECTIONS), goal: GOALS.limits },
    { name: "access, with a token", client: await signedInClient(signedIn), goal: GOALS.access },
    { name: "both, with a token", client: await signedInClient(both), goal: undefined },
  ];
  const requests = productRequests(products).slice(0, PRODUCTS);
  const next = createZipf(requests, createRandom(1));
  const perSecond = sides.map((): number[] => []);
  try {
    // Everything is in memory, and the compiler has seen it, before the rounds begin.
    for (const { client } of sides) {
      await drive(client, requests);
      await drive(client, during(SECONDS_A_ROUND, next));
    }
    for (let round = 0; round < ROUNDS; round += 1) {
      // Each comes first as often as the others.
      for (let turn = 0; turn < sides.length; turn += 1) {
        const index = (round + turn) % sides.length;
        let calls = 0;
        const seconds = await drive(sides[index]?.client ?? raise(), during(SECONDS_A_ROUND, next), () => {
          calls += 1;
        });
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
    notes: `GetProduct from the cache, ${PRODUCTS} products by Zipf's law over gRPC; ${LOAD}. Four services on one database and one Redis, asked in turn, ${ROUNDS} rounds of ${SECONDS_A_ROUND} s each; the medians. A token is verified once and then known; a budget is asked of Redis at each call.`,
    rows: [["held to", "calls a second", "to neither", "goal"], ...rows],
    missed: goals.missed,
  };
};

/** A client whose calls carry the token of a new account. */
async function signedInClient({ url }: Service): Promise<GrpcClient> {
  const response = await fetch(`${url}/cartwright.identity.v1.IdentityService/Register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: `${randomUUID()}@example.com`, name: "Bench", password: randomUUID() }),
  });
  const [, token = ""] = /"accessToken":"([^"]+)"/.exec(await response.text()) ?? [];
  return openGrpcClient(url, CONNECTIONS, { authorization: `Bearer ${token}` });
}

function raise(): never {
  throw new RangeError("There is no such side.");
}
