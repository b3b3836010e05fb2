import { setTimeout as sleep } from "node:timers/promises";
import { repeatFor, runClosedLoop } from "../harness/closed-loop.ts";
import { type EncodedRequest, type GrpcClient, openGrpcClient } from "../harness/grpc-client.ts";
import { createRandom, createZipf, formatNumber, quantile } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";
import { productRequests } from "../workload/traffic.ts";

/** Enough connections that no client queue forms: each carries 256 concurrent streams. */
const CONNECTIONS = 16;
const PEAK_CONCURRENCY = 32;
const ROUNDS = 3;
const SECONDS_PER_ROUND = 5;
const PEAK_MULTIPLES = [1, 2, 3];
const GOAL = 0.8;
/** Responses that take longer count as failed. */
const MAX_USEFUL_MS = 1_000;

/** The results of an open loop. */
interface OpenLoopResult {
  sent: number;
  completed: number;
  ms: number[];
}

/** Measures the goodput under more calls than the service can handle. */
export const overload: Part = async ({ products, startReplica }) => {
  const service = await startReplica({});
  const client = openGrpcClient(service.url, CONNECTIONS);
  const goals = new Goals();
  try {
    const requests = productRequests(products);
    const next = createZipf(requests, createRandom(1));
    await runClosedLoop(client, requests);
    const peaks: number[] = [];
    const results = PEAK_MULTIPLES.map((): OpenLoopResult => ({ sent: 0, completed: 0, ms: [] }));
    for (let round = 0; round < ROUNDS; round += 1) {
      let calls = 0;
      const seconds = await runClosedLoop(
        client,
        repeatFor(SECONDS_PER_ROUND, next),
        () => {
          calls += 1;
        },
        PEAK_CONCURRENCY,
      );
      peaks.push(calls / seconds);
      for (const [index, result] of results.entries()) {
        await runOpenLoop(client, next, (PEAK_MULTIPLES[index] ?? 1) * (calls / seconds), result);
      }
    }
    const peak = peaks.reduce((sum, one) => sum + one, 0) / peaks.length;
    const rows = [
      ["cached GetProduct", "sent/s", "completed within 1 s, /s", "of the peak", "p50 ms", "p99 ms", "goal"],
    ];
    rows.push([
      `peak, ${PEAK_CONCURRENCY} concurrent`,
      formatNumber(Math.round(peak)),
      formatNumber(Math.round(peak)),
      "1",
      "",
      "",
      "",
    ]);
    for (const [index, { sent, completed, ms }] of results.entries()) {
      const share = completed / (ROUNDS * SECONDS_PER_ROUND) / peak;
      rows.push([
        `${PEAK_MULTIPLES[index]} times the peak`,
        formatNumber(Math.round(sent / (ROUNDS * SECONDS_PER_ROUND))),
        formatNumber(Math.round(completed / (ROUNDS * SECONDS_PER_ROUND))),
        share.toFixed(2),
        quantile(ms, 0.5).toFixed(0),
        quantile(ms, 0.99).toFixed(0),
        PEAK_MULTIPLES[index] === 2
          ? goals.atLeast("goodput at twice the peak, of the peak,", share, GOAL)
          : "",
      ]);
    }
    const notes = `${formatNumber(products)} products; ${ROUNDS} rounds of ${SECONDS_PER_ROUND} s each. The peak is measured in a closed loop; then calls are sent at multiples of that rate in an open loop over ${CONNECTIONS} connections. Calls beyond MAX_CALLS are rejected with UNAVAILABLE. The load generator and the stores share the machine.`;
    return { title: "Overload", notes, rows, missed: goals.missed };
  } finally {
    client.close();
  }
};

/** Sends calls at a fixed rate, without waiting for earlier calls. */
async function runOpenLoop(
  client: GrpcClient,
  next: () => EncodedRequest,
  perSecond: number,
  result: OpenLoopResult,
): Promise<void> {
  const startMs = performance.now();
  const calls: Promise<void>[] = [];
  const send = async () => {
    const sentMs = performance.now();
    try {
      await client.call(next());
    } catch {
      return; // rejected
    }
    const ms = performance.now() - sentMs;
    result.ms.push(ms);
    if (ms <= MAX_USEFUL_MS) result.completed += 1;
  };
  for (let sent = 0; ; ) {
    const elapsedMs = performance.now() - startMs;
    if (elapsedMs >= SECONDS_PER_ROUND * 1_000) break;
    for (; sent < (elapsedMs / 1_000) * perSecond; sent += 1) calls.push(send());
    await sleep(1);
  }
  result.sent += calls.length;
  await Promise.all(calls);
}
