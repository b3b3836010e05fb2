import type { DescMethod } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { completeErrors } from "../errors/complete-errors.ts";
import { type Authenticate, admit, identify } from "../interceptors/access.ts";
import type { WriteCall } from "../interceptors/access-log.ts";
import type { Translate } from "../interceptors/errors.ts";
import { type CallLimits, isEndedCredential, isWrongCredential } from "../interceptors/rate-limit.ts";
import { type ActiveCall, callKey } from "./active-call.ts";

/** What is looked at before anything of a request is read. */
export interface AdmissionOptions {
  /** Absent: everyone may do everything. */
  authenticate: Authenticate | undefined;
  /** Absent: nobody is held to a budget. */
  limits: CallLimits | undefined;
  translate: Translate;
  write: WriteCall;
}

/** What each call passes before its body is read. */
export interface Admission {
  /** @throws ConnectError, which is in the log already, for a call that may not be made */
  enter(call: ActiveCall, method: DescMethod): Promise<void>;
  /** The same, where Connect asks for it. */
  forConnect(context: HandlerContext): Promise<void>;
}

/**
 * What is done with each call before its body is read: it is found out who calls, that they have not called
 * too often, and that they may call this. In this order, so that what is refused has a price too.
 */
export function createAdmission({ authenticate, limits, translate, write }: AdmissionOptions): Admission {
  const admitted = async (call: ActiveCall): Promise<void> => {
    const { policy, authorization } = call.setup;
    if (policy === undefined) return;
    try {
      const beforeAsking = () => limits?.assertTrusted(call);
      const principal = identify(authenticate, authorization, beforeAsking);
      call.principal = principal instanceof Promise ? await principal : principal;
      call.identifiedAtMs = performance.now();
    } catch (error) {
      if (isWrongCredential(error)) await limits?.punish(call);
      // It is nobody's any more, so that the address pays for the call as it does for anyone's.
      if (isEndedCredential(error)) await limits?.spend(call, policy);
      throw error;
    }
    await limits?.spend(call, policy);
    admit(call.principal, policy);
  };
  const enter = async (call: ActiveCall, method: DescMethod): Promise<void> => {
    try {
      await admitted(call);
    } catch (error) {
      // No interceptor is passed any more.
      const told = translate(error, method);
      write(method, call, told);
      throw told;
    }
  };
  return {
    enter,
    async forConnect(context) {
      completeErrors(context);
      const call = context.values.get(callKey);
      if (call === undefined) return;
      call.answer = { header: context.responseHeader, trailer: context.responseTrailer };
      if (!call.isAdmitted) await enter(call, context.method);
    },
  };
}
