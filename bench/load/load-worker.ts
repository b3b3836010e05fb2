// A process that places orders over gRPC, so that its processor time is known and its work delays no other caller.
import { StartupError } from "../../src/kernel/errors.ts";
import { CallConnection, type OnEnd } from "./call-connection.ts";
import type { Load, LoadResult } from "./load-generator.ts";
import { CREATE_ORDER, createOrderMessages } from "./order-messages.ts";

/** The interval of an open loop, in milliseconds. */
const TICK_MS = 1;
const OK = "0";
const GRPC_STATUS = /^\d+$/;

const connections: CallConnection[] = [];

/** The calls of one load. */
class Calls {
  readonly #next: () => Uint8Array;
  readonly #ms: number[] = [];
  readonly #failures = new Map<string, number>();
  readonly #startMs = performance.now();
  #turn = 0;
  #pending = 0;

  constructor(next: () => Uint8Array) {
    this.#next = next;
  }

  get elapsedMs(): number {
    return performance.now() - this.#startMs;
  }

  get isDone(): boolean {
    return this.#pending === 0;
  }

  /** Sends a call on the next connection. */
  send(onEnd: OnEnd): void {
    const connection = connections[this.#turn++ % connections.length];
    if (connection === undefined) throw new StartupError("The load has no connection.");
    const sentMs = performance.now();
    this.#pending += 1;
    connection.call(this.#next(), (status) => {
      this.#pending -= 1;
      if (status === OK) this.#ms.push(performance.now() - sentMs);
      else this.#failures.set(status, (this.#failures.get(status) ?? 0) + 1);
      onEnd(status);
    });
  }

  result(cpu: NodeJS.CpuUsage): LoadResult {
    return {
      ms: Float64Array.from(this.#ms),
      failures: this.#failures,
      seconds: this.elapsedMs / 1_000,
      busySeconds: (cpu.user + cpu.system) / 1e6,
    };
  }
}

/** Runs a load to its last response. */
function run({ orders, seconds, callers, perSecond }: Load): Promise<LoadResult> {
  const before = process.cpuUsage();
  const calls = new Calls(createOrderMessages(orders));
  const isOver = () => calls.elapsedMs >= seconds * 1_000;
  // In an open loop there may be more calls while none is pending.
  let isSending = perSecond > 0;
  return new Promise((resolve) => {
    const finish = () => {
      if (!isSending && calls.isDone) resolve(calls.result(process.cpuUsage(before)));
    };
    const repeat = (status: string) => {
      // A caller without a connection stops.
      if (isOver() || !GRPC_STATUS.test(status)) finish();
      else calls.send(repeat);
    };
    for (let caller = 0; caller < callers; caller += 1) repeat(OK);
    if (!isSending) return;
    let sent = 0;
    const timer = setInterval(() => {
      for (; sent < (calls.elapsedMs / 1_000) * perSecond; sent += 1) calls.send(finish);
      if (!isOver()) return;
      clearInterval(timer);
      isSending = false;
      finish();
    }, TICK_MS);
  });
}

process.on("message", async (message: Load) => {
  while (connections.length < message.connections) {
    connections.push(
      new CallConnection(message.url, `/${CREATE_ORDER.parent.typeName}/${CREATE_ORDER.name}`),
    );
  }
  process.send?.(await run(message));
});
process.on("disconnect", () => process.exit());
