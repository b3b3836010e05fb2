import { setTimeout as sleep } from "node:timers/promises";
import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import {
  Health,
  type HealthCheckRequest,
  HealthCheckResponse_ServingStatus as Status,
} from "../../../gen/grpc/health/v1/health_pb.ts";
import { AppError, quoted } from "../../kernel/errors.ts";
import { getCall } from "../call/active-call.ts";
import type { Readiness } from "./readiness.ts";

/** How soon a watcher hears of a change. */
const pollMs = 1_000;

/**
 * grpc.health.v1: the state of the whole server under "", and the same under the name of each service.
 * A watch ends with NOT_SERVING when the server begins to stop.
 */
export function registerHealth(
  router: ConnectRouter,
  services: readonly DescService[],
  readiness: () => Promise<Readiness>,
  draining: AbortSignal,
): void {
  const names = new Set(["", ...services.map((service) => service.typeName)]);
  const statusNow = async (): Promise<Status> =>
    (await readiness()).ready ? Status.SERVING : Status.NOT_SERVING;

  async function* watch({ service }: HealthCheckRequest, context: HandlerContext) {
    const { signal } = getCall(context);
    let told: Status | undefined;
    while (!signal.aborted) {
      const status = names.has(service) ? await statusNow() : Status.SERVICE_UNKNOWN;
      if (status !== told) yield { status };
      told = status;
      if (draining.aborted) return;
      await pause(signal, draining);
    }
  }

  router.service(Health, {
    check: async ({ service }) => {
      if (names.has(service)) return { status: await statusNow() };
      throw new AppError("not_found", `There is no service ${quoted(service)} here.`, {
        reason: "SERVICE_NOT_FOUND",
      });
    },
    watch,
  });
}

/** Waits until the next look; not at all once one of the signals aborts. */
async function pause(...signals: AbortSignal[]): Promise<void> {
  const wake = new AbortController();
  const onAbort = () => wake.abort();
  for (const signal of signals) signal.addEventListener("abort", onAbort, { once: true });
  try {
    if (!signals.some((signal) => signal.aborted)) await sleep(pollMs, undefined, { signal: wake.signal });
  } catch {
    // Woken early.
  } finally {
    for (const signal of signals) signal.removeEventListener("abort", onAbort);
  }
}
