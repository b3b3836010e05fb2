import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { StartupError } from "../../src/kernel/errors.ts";
import type { OrderedProducts } from "./order-messages.ts";

/** A number of orders, in a closed loop of `callers` or in an open loop at `perSecond`. */
export interface Load {
  url: string;
  connections: number;
  orders: OrderedProducts;
  seconds: number;
  /** 0 for an open loop. */
  callers: number;
  /** 0 for a closed loop. */
  perSecond: number;
}

/** What the callers saw. */
export interface LoadResult {
  /** The latencies of the acknowledged orders, in milliseconds. */
  ms: Float64Array;
  /** The numbers of other results by gRPC status. */
  failures: Map<string, number>;
  /** Time to the last response. */
  seconds: number;
  /** Processor time of the load generator. */
  busySeconds: number;
}

/** A process that places orders at one service. */
export interface LoadGenerator {
  /** Places orders for a number of seconds. */
  run(load: Omit<Load, "url" | "connections">): Promise<LoadResult>;
  close(): Promise<void>;
}

/** Starts a load generator in a child process, which ends with this one. */
export function startLoadGenerator(url: string, connections: number): LoadGenerator {
  const child = fork(new URL("load-worker.ts", import.meta.url), { serialization: "advanced" });
  return {
    run: (load) => exchange(child, { ...load, url, connections }),
    async close() {
      if (child.exitCode !== null) return;
      const exited = once(child, "exit");
      child.disconnect();
      await exited;
    },
  };
}

/** @throws StartupError when the process ends without a result */
function exchange(child: ChildProcess, load: Load): Promise<LoadResult> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) =>
      reject(new StartupError(`The load generator ended with exit code ${code}.`));
    child.once("exit", onExit);
    child.once("message", (result: LoadResult) => {
      child.off("exit", onExit);
      resolve(result);
    });
    child.send(load);
  });
}
