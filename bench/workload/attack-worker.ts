import { parentPort, workerData } from "node:worker_threads";
import { attacks, type Target } from "./attacks.ts";

/** What the worker runs. */
export interface AttackWorkerData {
  /** A key of `attacks`. */
  name: string;
  target: Target;
}

// A thread of its own, so that the load generator does not share an event loop with the attack.
const { name, target }: AttackWorkerData = workerData;
const attack = attacks.get(name)?.(target);
if (attack === undefined) throw new RangeError(`Unknown attack ${name}`);
const stop = new AbortController();
parentPort?.once("message", () => {
  const { open, ...counts } = attack.counts;
  parentPort?.postMessage({ ...counts, open });
  stop.abort();
  parentPort?.close();
});
await attack.run(stop.signal);
