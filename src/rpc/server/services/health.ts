import { setTimeout as sleep } from "node:timers/promises";
import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import {
  Health,
  type HealthCheckRequest,
  HealthCheckResponse_ServingStatus as Status,
} from "../../../../gen/grpc/health/v1/health_pb.ts";
import { AppError, quoted } from "../../../kernel/errors.ts";
import { getCall } from "../../call/call-context.ts";
import type { Readiness } from "./readiness.ts";

/** Dependencies of the health service. */
export interface HealthOptions {
  services: readonly DescService[];
  readiness(): Promise<Readiness>;
  /** The interval at which watches look for a change, in milliseconds. */
  watchMs: number;
  /** Aborted when the server begins to stop. */
  draining: AbortSignal;
}

/**
 * Registers grpc.health.v1: the status of the whole server under "", and the same under the name of each service.
 * A watch ends with NOT_SERVING when the server begins to stop.
 */
export function registerHealth(router: ConnectRouter, options: HealthOptions): void {
  const { services, readiness, watchMs, draining } = options;
  const names = new Set(["", ...services.map((service) => service.typeName)]);
  const currentStatus = async (): Promise<Status> =>
    (await readiness()).ready ? Status.SERVING : Status.NOT_SERVING;

  async function* watch({ service }: HealthCheckRequest, context: HandlerContext) {
    const { signal } = getCall(context);
    let sent: Status | undefined;
    while (!signal.aborted) {
      const status = names.has(service) ? await currentStatus() : Status.SERVICE_UNKNOWN;
      if (status !== sent) yield { status };
      sent = status;
      if (draining.aborted) return;
      await sleepUnlessAborted(watchMs, signal, draining);
    }
  }

  router.service(Health, {
    async check({ service }) {
      if (names.has(service)) return { status: await currentStatus() };
      throw new AppError("not_found", `Unknown service ${quoted(service)}.`, {
        reason: "SERVICE_NOT_FOUND",
      });
    },
    watch,
  });
}

/** Waits for a time, or until one of the signals aborts. */
async function sleepUnlessAborted(ms: number, ...signals: AbortSignal[]): Promise<void> {
  const wake = new AbortController();
  const onAbort = () => wake.abort();
  for (const signal of signals) signal.addEventListener("abort", onAbort, { once: true });
  try {
    if (!signals.some((signal) => signal.aborted)) await sleep(ms, undefined, { signal: wake.signal });
  } catch {
    // Aborted.
  } finally {
    for (const signal of signals) signal.removeEventListener("abort", onAbort);
  }
}
