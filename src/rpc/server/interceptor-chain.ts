import type { Interceptor } from "@connectrpc/connect";
import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Log } from "../../kernel/log.ts";
import type { Authenticate } from "../call/access/authenticate-call.ts";
import { createAuthorize } from "../call/access/authorization.ts";
import { createReauthenticate, type Reauthenticate } from "../call/access/reauthenticate.ts";
import { createAccessLog } from "../call/access-log-writer.ts";
import { type Admission, createAdmission } from "../call/admission.ts";
import { createErrorTranslator, type ErrorTranslator } from "../errors/error-translator.ts";
import { createAccessInterceptor } from "../interceptors/access.ts";
import { createAccessLogInterceptor } from "../interceptors/access-log.ts";
import { createAuditInterceptor } from "../interceptors/audit.ts";
import { createCacheInterceptor, type ResponseCache } from "../interceptors/cache.ts";
import { createDeadlineInterceptor } from "../interceptors/deadline.ts";
import { createErrorInterceptor } from "../interceptors/errors.ts";
import { createRateLimitInterceptor } from "../interceptors/rate-limit.ts";
import { createValidationInterceptor } from "../interceptors/validation.ts";
import type { CallRateLimiter } from "../rate-limit/call-rate-limiter.ts";

/** Dependencies of the interceptor chain. */
export interface InterceptorChainOptions {
  policies: ReadonlyMap<string, MethodPolicy>;
  /** Absent: access control is off. */
  authenticate: Authenticate | undefined;
  /** Whether anonymous callers may call methods with ACCESS_GUEST. */
  guestCheckout: boolean;
  /** Absent: rate limits are off. */
  rateLimiter: CallRateLimiter | undefined;
  /** Absent: the cache is off. */
  cache: ResponseCache | undefined;
  /** Charges the peer of a call that is rejected because of its rate limit or an overload. */
  chargePeer(peer: string | undefined): void;
  /** Whether errors without details get an ErrorInfo. */
  addsErrorInfo: boolean;
  log: Log;
}

/** The steps of a call before its handler. */
export interface InterceptorChain {
  /** Passed before the body is read. */
  admission: Admission;
  /** Passed next, outermost first. */
  interceptors: Interceptor[];
  errors: ErrorTranslator;
  /** Authenticates the caller of a call again. */
  reauthenticate: Reauthenticate;
}

/** Creates the interceptor chain. */
export function createInterceptorChain(options: InterceptorChainOptions): InterceptorChain {
  const { policies, authenticate, rateLimiter, cache, addsErrorInfo, log } = options;
  const authorize = createAuthorize(options.guestCheckout);
  const reauthenticate = createReauthenticate(authenticate, authorize);
  const errors = createErrorTranslator({ log, addsErrorInfo });
  const logCall = createAccessLog(log);
  const rateLimit = rateLimiter === undefined ? [] : [createRateLimitInterceptor(rateLimiter)];
  return {
    admission: createAdmission({
      authenticate,
      authorize,
      rateLimiter,
      errors,
      logCall,
      chargePeer: options.chargePeer,
    }),
    errors,
    reauthenticate,
    interceptors: [
      createAccessLogInterceptor(logCall),
      createErrorInterceptor(errors),
      ...rateLimit,
      createDeadlineInterceptor(),
      createAccessInterceptor(authorize, reauthenticate),
      createValidationInterceptor(),
      createAuditInterceptor(policies),
      createCacheInterceptor(cache, policies),
    ],
  };
}
