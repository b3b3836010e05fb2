import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { Call } from "../../kernel/call.ts";
import { anonymous } from "../../kernel/principal.ts";
import type { ActiveCall } from "./active-call.ts";

/** The context value that holds the call, for interceptors and handlers. */
export const callKey = createContextKey<ActiveCall | undefined>(undefined, { description: "call" });

/** Returns the call that a handler works for. A handler that runs outside of the server gets an anonymous one. */
export function getCall(context: HandlerContext): Call {
  const call = context.values.get(callKey);
  if (call !== undefined) return call;
  const timeoutMs = context.timeoutMs() ?? Number.POSITIVE_INFINITY;
  const deadlineAtMs = performance.now() + timeoutMs;
  return {
    signal: context.signal,
    deadlineAtMs,
    clientAddress: "",
    userAgent: "",
    principal: anonymous,
    orderToken: "",
  };
}
