import { once } from "node:events";
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { runClosedLoop } from "../harness/closed-loop.ts";
import type { EncodedRequest, GrpcClient } from "../harness/grpc-client.ts";
import { createRandom, createZipf, formatNumber, quantile } from "../harness/numbers.ts";
import { Goals, type Part } from "../harness/part.ts";
import type { Service } from "../harness/service.ts";
import { openSignedInClient } from "../harness/signed-in-client.ts";
import type { AttackWorkerData } from "../workload/attack-worker.ts";
import { type AttackCounts, attacks as attackKinds } from "../workload/attacks.ts";
import { productRequests } from "../workload/traffic.ts";

const ROUNDS = 3;
const SECONDS_PER_PHASE = 8;
const CALLS_PER_SECOND = 100;
const PROBE_INTERVAL_MS = 100;
/** The p99 of a caller under attack as a multiple of its p99 without. */
const GOAL = 5;
/** The budgets of accounts are not exhausted; those of anonymous callers are the defaults. */
const SETTINGS = { ACCESS: "on", LIMITS: "on", LIMIT_TIMES_SIGNED_IN: "1000" };

/** What a caller and a probe saw in one phase. */
interface Phase {
  ms: number[];
  failed: number;
  probes: number;
  failedProbes: number;
}

/** Measures a signed-in caller while another address attacks. */
export const attacks: Part = async ({ products, startReplica }) => {
  const goals = new Goals();
  const rows = [
    [
      "attack",
      "p99 before ms",
      "p99 under attack ms",
      "ratio",
      "goal",
      "failed calls",
      "failed probes",
      "memory MB",
      "its connections: open, refused",
    ],
  ];
  for (const [index, name] of [...attackKinds.keys()].entries()) {
    const service = await startReplica(SETTINGS);
    const client = await openSignedInClient(service);
    const requests = productRequests(products).slice(0, 200);
    const next = createZipf(requests, createRandom(1));
    await runClosedLoop(client, requests);
    const [quiet, attacked] = [emptyPhase(), emptyPhase()];
    let counts: AttackCounts = { served: 0, refused: 0, open: 0 };
    for (let round = 0; round < ROUNDS; round += 1) {
      await runPhase(service, client, next, quiet);
      // Another address in each round, since the one before may be in debt.
      const attack = startAttack(name, {
        port: Number(new URL(service.url).port),
        localAddress: `127.0.${index + 1}.${round + 1}`,
      });
      await runPhase(service, client, next, attacked);
      counts = await attack.stop();
    }
    client.close();
    const [before, under] = [quantile(quiet.ms, 0.99), quantile(attacked.ms, 0.99)];
    rows.push([
      name,
      formatNumber(before),
      formatNumber(under),
      formatNumber(under / before),
      goals.atMost(`p99 under ${name}, of the p99 without,`, under / before, GOAL),
      `${attacked.failed} of ${attacked.failed + attacked.ms.length}`,
      `${attacked.failedProbes} of ${attacked.probes}`,
      formatNumber(Math.round(await service.peakMemoryMb())),
      `${counts.open}, ${formatNumber(counts.refused)}`,
    ]);
    await service.close();
  }
  return {
    title: "Attacks",
    notes: `A signed-in caller makes ${CALLS_PER_SECOND} calls of GetProduct a second in an open loop from 127.0.0.1, served from the cache; ${ROUNDS} rounds of ${SECONDS_PER_PHASE} s without and ${SECONDS_PER_PHASE} s with an attack, which comes from one other loopback address in each round and reconnects as often as it can, 10,000 times at most. Probes request /healthz on a new connection each. Memory is the highest resident memory of the service. Attacker, caller, service and stores share the machine.`,
    rows,
    missed: goals.missed,
  };
};

const emptyPhase = (): Phase => ({ ms: [], failed: 0, probes: 0, failedProbes: 0 });

/** Makes calls at a fixed rate, whether earlier ones have ended or not, and adds what they saw to a phase. */
async function runPhase(
  { url }: Service,
  client: GrpcClient,
  next: () => EncodedRequest,
  phase: Phase,
): Promise<void> {
  const calls: Promise<void>[] = [];
  const call = async (request: EncodedRequest) => {
    const sentMs = performance.now();
    try {
      await client.call(request);
      phase.ms.push(performance.now() - sentMs);
    } catch {
      phase.failed += 1;
    }
  };
  const probe = async () => {
    phase.probes += 1;
    if (!(await isHealthy(url))) phase.failedProbes += 1;
  };
  const startMs = performance.now();
  let sent = 0;
  let probes = 0;
  for (let elapsedMs = 0; elapsedMs < SECONDS_PER_PHASE * 1_000; elapsedMs = performance.now() - startMs) {
    for (; sent < (elapsedMs / 1_000) * CALLS_PER_SECOND; sent += 1) calls.push(call(next()));
    for (; probes < elapsedMs / PROBE_INTERVAL_MS; probes += 1) calls.push(probe());
    await sleep(1);
  }
  await Promise.all(calls);
}

function isHealthy(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(`${url}/healthz`, { agent: false, timeout: 5_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(false));
  });
}

/** Starts an attack in a thread of its own. */
function startAttack(name: string, target: AttackWorkerData["target"]): { stop(): Promise<AttackCounts> } {
  const workerData: AttackWorkerData = { name, target };
  const worker = new Worker(new URL("../workload/attack-worker.ts", import.meta.url), { workerData });
  return {
    async stop() {
      const exited = once(worker, "exit");
      const counted = once(worker, "message");
      worker.postMessage("stop");
      const [counts]: AttackCounts[] = await counted;
      await exited;
      return counts ?? { served: 0, refused: 0, open: 0 };
    },
  };
}
