import type { HandlerContext } from "@connectrpc/connect";
import { type Authenticate, admit, identify } from "./access.ts";
import { type ActiveCall, callKey } from "./call.ts";
import type { Translate } from "./errors.ts";
import { type CallLimits, isWrongCredential } from "./limits.ts";
import type { WriteCall } from "./logs.ts";
import { completeRefusals } from "./refusals.ts";

/** What is looked at before anything of a request is read. */
export interface GateOptions {
  /** Absent: everyone may do everything. */
  authenticate: Authenticate | undefined;
  /** Absent: nobody is held to a budget. */
  limits: CallLimits | undefined;
  translate: Translate;
  write: WriteCall;
}

/**
 * What is done with each call before Connect reads its body: it is found out who calls, that they have not called
 * too often, and that they may call this. In this order, so that what is refused has a price too.
 */
export function createGate({ authenticate, limits, translate, write }: GateOptions) {
  const enter = async (context: HandlerContext, call: ActiveCall): Promise<void> => {
    const { policy } = call.setup;
    if (policy === undefined) return;
    try {
      const authorization = context.requestHeader.get("authorization");
      const beforeAsking = () => limits?.assertTrusted(call);
      call.principal = await identify(authenticate, authorization, call, beforeAsking);
      call.identifiedAtMs = performance.now();
    } catch (error) {
      if (isWrongCredential(error)) await limits?.punish(call);
      throw error;
    }
    await limits?.spend(call, policy);
    admit(call.principal, policy);
  };
  return async (context: HandlerContext): Promise<void> => {
    completeRefusals(context);
    const call = context.values.get(callKey);
    if (call === undefined) return;
    call.answer = { header: context.responseHeader, trailer: context.responseTrailer };
    try {
      await enter(context, call);
    } catch (error) {
      // No interceptor is passed any more.
      const told = translate(error, context.method);
      write(context.method, call, told);
      throw told;
    }
  };
}
