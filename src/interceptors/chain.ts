import type { Interceptor } from "@connectrpc/connect";
import type { Log } from "../kernel/log.ts";
import { createDeadlineInterceptor } from "./deadline.ts";
import { createErrorInterceptor } from "./errors.ts";
import { createLogInterceptor } from "./logs.ts";
import { createValidationInterceptor } from "./validation.ts";

/** Everything that a call passes on its way to a handler, outermost first. */
export function createInterceptors(log: Log): Interceptor[] {
  return [
    createLogInterceptor(log),
    createErrorInterceptor(log),
    createDeadlineInterceptor(),
    createValidationInterceptor(),
  ];
}
