import type { Interceptor } from "@connectrpc/connect";
import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Log } from "../../kernel/log.ts";
import { type Admission, createAdmission } from "../call/admission.ts";
import { type Authenticate, createAccessInterceptor } from "./access.ts";
import { createLogInterceptor, createWriteCall } from "./access-log.ts";
import { createAuditInterceptor } from "./audit.ts";
import { type AnswerCache, createCacheInterceptor } from "./cache.ts";
import { createDeadlineInterceptor } from "./deadline.ts";
import { createErrorInterceptor, createTranslate } from "./errors.ts";
import { type CallLimits, createLimitsInterceptor } from "./rate-limit.ts";
import { createValidationInterceptor } from "./validation.ts";

/** What the interceptors work with. */
export interface ChainOptions {
  policies: ReadonlyMap<string, MethodPolicy>;
  /** Absent: everyone may do everything. */
  authenticate: Authenticate | undefined;
  /** Absent: nobody is held to a budget. */
  limits: CallLimits | undefined;
  /** Absent: no answer is given twice. */
  cache: AnswerCache | undefined;
  log: Log;
}

/** Everything that a call passes on its way to a handler. */
export interface Chain {
  /** Before its body is read. */
  gate: Admission;
  /** Then, outermost first. */
  interceptors: Interceptor[];
}

/** Builds the chain. */
export function createChain({ policies, authenticate, limits, cache, log }: ChainOptions): Chain {
  const translate = createTranslate(log);
  const write = createWriteCall(log);
  return {
    gate: createAdmission({ authenticate, limits, translate, write }),
    interceptors: [
      createLogInterceptor(write),
      createErrorInterceptor(translate),
      ...(limits === undefined ? [] : [createLimitsInterceptor(limits)]),
      createDeadlineInterceptor(),
      createAccessInterceptor(authenticate),
      createValidationInterceptor(),
      createAuditInterceptor(policies),
      createCacheInterceptor(cache, policies),
    ],
  };
}
