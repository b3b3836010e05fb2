import { setTimeout as sleep } from "node:timers/promises";
import { drive, during } from "../harness/closed-loop.ts";
import { type EncodedRequest, type GrpcClient, openGrpcClient } from "../harness/grpc-client.ts";
import { createRandom, createZipf, formatNumber, quantile } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";
import { productRequests } from "../workload/traffic.ts";

/** Enough that no queue of the caller's own hides how many there are: each takes 256 calls at once. */
const CONNECTIONS = 16;
const PEAK_CALLS_AT_ONCE = 32;
const ROUNDS = 3;
const SECONDS_A_ROUND = 5;
const TIMES = [1, 2, 3];
const GOAL = 0.8;
/** A call that waits for longer is of no use to anybody. */
const USEFUL_MS = 1_000;

/** What came of calls that were sent whether others were answered or not. */
interface Offered {
  sent: number;
  good: number;
  ms: number[];
}

/** More calls than the service can answer: how many it answers all the same. */
export const overload: Part = async ({ products, beside }) => {
  const service = await beside({});
  const client = openGrpcClient(service.url, CONNECTIONS);
  const goals = new Goals();
  try {
    const requests = productRequests(products);
    const next = createZipf(requests, createRandom(1));
    await drive(client, requests);
    const peaks: number[] = [];
    const offers = TIMES.map((): Offered => ({ sent: 0, good: 0, ms: [] }));
    for (let round = 0; round < ROUNDS; round += 1) {
      let calls = 0;
      const seconds = await drive(
        client,
        during(SECONDS_A_ROUND, next),
        () => {
          calls += 1;
        },
        PEAK_CALLS_AT_ONCE,
      );
      peaks.push(calls / seconds);
      for (const [index, offered] of offers.entries()) {
        await offer(client, next, (TIMES[index] ?? 1) * (calls / seconds), offered);
      }
    }
    const peak = peaks.reduce((sum, one) => sum + one, 0) / peaks.length;
    const rows = [
      [
        "cached GetProduct",
        "sent/s",
        "answered within 1 s, a second",
        "of the peak",
        "p50 ms",
        "p99 ms",
        "goal",
      ],
    ];
    rows.push([
      `peak, ${PEAK_CALLS_AT_ONCE} at once`,
      formatNumber(Math.round(peak)),
      formatNumber(Math.round(peak)),
      "1",
      "",
      "",
      "",
    ]);
    for (const [index, { sent, good, ms }] of offers.entries()) {
      const share = good / (ROUNDS * SECONDS_A_ROUND) / peak;
      rows.push([
        `${TIMES[index]} times the peak`,
        formatNumber(Math.round(sent / (ROUNDS * SECONDS_A_ROUND))),
        formatNumber(Math.round(good / (ROUNDS * SECONDS_A_ROUND))),
        share.toFixed(2),
        quantile(ms, 0.5).toFixed(0),
        quantile(ms, 0.99).toFixed(0),
        TIMES[index] === 2 ? goals.atLeast("goodput at twice the peak, of the peak,", share, GOAL) : "",
      ]);
    }
    const notes = `${formatNumber(products)} products; ${ROUNDS} rounds of ${SECONDS_A_ROUND} s each. The peak is of a closed loop; then calls are sent at that rate and its multiples, whether those before were answered or not (an open loop), over ${CONNECTIONS} connections. Those beyond MAX_CALLS are turned away with UNAVAILABLE. The caller and the stores share the machine.`;
    return { title: "More calls than can be answered", notes, rows, missed: goals.missed };
  } finally {
    client.close();
  }
};

/** Sends so many calls a second. */
async function offer(
  client: GrpcClient,
  next: () => EncodedRequest,
  perSecond: number,
  offered: Offered,
): Promise<void> {
  const startMs = performance.now();
  const calls: Promise<void>[] = [];
  const send = async () => {
    const sentMs = performance.now();
    try {
      await client.call(next());
    } catch {
      return; // turned away
    }
    const ms = performance.now() - sentMs;
    offered.ms.push(ms);
    if (ms <= USEFUL_MS) offered.good += 1;
  };
  for (let sent = 0; ; ) {
    const elapsedMs = performance.now() - startMs;
    if (elapsedMs >= SECONDS_A_ROUND * 1_000) break;
    for (; sent < (elapsedMs / 1_000) * perSecond; sent += 1) calls.push(send());
    await sleep(1);
  }
  offered.sent += calls.length;
  await Promise.all(calls);
}
