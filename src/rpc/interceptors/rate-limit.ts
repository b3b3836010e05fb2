import type { Interceptor } from "@connectrpc/connect";
import { callKey } from "../call/call-context.ts";
import type { CallRateLimiter } from "../rate-limit/call-rate-limiter.ts";
import { isFailedAuth } from "../rate-limit/failed-credentials.ts";

/**
 * Creates the interceptor that charges wrong credentials which a handler finds, as admission does for those in headers.
 * A credential that was valid once costs nothing beyond the call.
 */
export function createRateLimitInterceptor(rateLimiter: CallRateLimiter): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request);
    } catch (error) {
      const call = request.contextValues.get(callKey);
      if (call !== undefined && isFailedAuth(error)) await rateLimiter.chargeFailedAuth(call);
      throw error;
    }
  };
}
