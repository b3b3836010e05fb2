import { create, type DescService, type MessageShape } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { MethodPolicySchema, RateLimitClass } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { Health } from "../../../../gen/grpc/health/v1/health_pb.ts";
import {
  ServerReflection,
  type ServerReflectionRequestSchema,
} from "../../../../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  ServerReflection as ServerReflectionAlpha,
  type ServerReflectionRequestSchema as ServerReflectionRequestAlphaSchema,
} from "../../../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { callKey } from "../../call/call-context.ts";
import type { CallRateLimiter } from "../../rate-limit/call-rate-limiter.ts";
import { DescriptorIndex } from "./descriptor-index.ts";
import { untilAborted } from "./until-aborted.ts";

/**
 * Charges one reflection request to its caller.
 * @throws AppError resource_exhausted
 */
export type ReflectionCharge = (context: HandlerContext) => Promise<void>;

/** Dependencies of the reflection service. */
export interface ReflectionOptions {
  services: readonly DescService[];
  charge: ReflectionCharge;
  /** Aborted when the server begins to stop. */
  draining: AbortSignal;
}

/** The policy of reflection, whose contract declares none. */
const reflectionPolicy = create(MethodPolicySchema, { rateLimit: { class: RateLimitClass.READ, cost: 1 } });

/** Creates the charge of reflection requests; without a rate limiter they are free. */
export function createReflectionCharge(rateLimiter: CallRateLimiter | undefined): ReflectionCharge {
  return async ({ values }) => {
    const call = values.get(callKey);
    if (call !== undefined) await rateLimiter?.charge(call, reflectionPolicy);
  };
}

/** A request of either version: their messages are the same. */
type ReflectionRequest =
  | MessageShape<typeof ServerReflectionRequestSchema>
  | MessageShape<typeof ServerReflectionRequestAlphaSchema>;

/**
 * Registers grpc.reflection v1 and v1alpha for these services, for health and for reflection itself, with all files
 * that they import. Responses are a thousand times as long as requests, so each request is charged, not each stream.
 */
export function registerReflection(
  router: ConnectRouter,
  { services, charge, draining }: ReflectionOptions,
): void {
  const index = new DescriptorIndex([...services, Health, ServerReflection, ServerReflectionAlpha]);
  async function* reflect<Request extends ReflectionRequest>(
    requests: AsyncIterable<Request>,
    context: HandlerContext,
  ) {
    for await (const request of untilAborted(requests, draining)) {
      await charge(context);
      const messageResponse = index.find(request.messageRequest);
      yield { validHost: request.host, originalRequest: request, messageResponse };
    }
  }
  router.service(ServerReflection, { serverReflectionInfo: reflect });
  router.service(ServerReflectionAlpha, { serverReflectionInfo: reflect });
}
