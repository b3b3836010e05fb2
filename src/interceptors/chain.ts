import type { Interceptor } from "@connectrpc/connect";
import type { MethodPolicy } from "../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Log } from "../kernel/log.ts";
import { type AnswerCache, createCacheInterceptor } from "./cache.ts";
import { createDeadlineInterceptor } from "./deadline.ts";
import { createErrorInterceptor } from "./errors.ts";
import { createLogInterceptor } from "./logs.ts";
import { createValidationInterceptor } from "./validation.ts";

/** What the interceptors work with. */
export interface InterceptorOptions {
  policies: ReadonlyMap<string, MethodPolicy>;
  /** Absent: no answer is given twice. */
  cache: AnswerCache | undefined;
  log: Log;
}

/** Everything that a call passes on its way to a handler, outermost first. */
export function createInterceptors({ policies, cache, log }: InterceptorOptions): Interceptor[] {
  return [
    createLogInterceptor(log),
    createErrorInterceptor(log),
    createDeadlineInterceptor(),
    createValidationInterceptor(),
    createCacheInterceptor(cache, policies),
  ];
}
