import type { DescMethod } from "@bufbuild/protobuf";
import { Code, type HandlerContext } from "@connectrpc/connect";
import { anonymous } from "../../kernel/principal.ts";
import { completeErrors } from "../errors/complete-errors.ts";
import type { ErrorTranslator } from "../errors/error-translator.ts";
import type { CallRateLimiter } from "../rate-limit/call-rate-limiter.ts";
import { isEndedCredential, isFailedAuth } from "../rate-limit/failed-credentials.ts";
import { type Authenticate, authenticateHeader } from "./access/authenticate-call.ts";
import type { Authorize } from "./access/authorization.ts";
import type { AccessLog } from "./access-log-writer.ts";
import type { ActiveCall } from "./active-call.ts";
import { callKey } from "./call-context.ts";
import { CallerKeys } from "./caller-keys.ts";

/** Dependencies of admission control. */
export interface AdmissionOptions {
  /** Absent: access control is off. */
  authenticate: Authenticate | undefined;
  authorize: Authorize;
  /** Absent: rate limits are off. */
  rateLimiter: CallRateLimiter | undefined;
  errors: ErrorTranslator;
  logCall: AccessLog;
  /** Charges the peer of a call that is rejected because of its rate limit or an overload. */
  chargePeer(peer: string | undefined): void;
}

/** Admission control, which each call passes before its body is read. */
export interface Admission {
  /**
   * Admits a call.
   * @throws ConnectError, logged already, for a call that is rejected
   */
  admit(call: ActiveCall, method: DescMethod): Promise<void>;
  /** Returns the key of a call's caller, admitted or not, to whose share the call belongs. */
  callerKey(call: ActiveCall): string;
  /** Charges the cost of a call that is rejected before its admission, so that retries cost too. */
  chargeRejected(call: ActiveCall): void;
  /** Admits a call that came through Connect, unless the fast path admitted it before. */
  admitConnect(context: HandlerContext): Promise<void>;
}

/**
 * Creates the admission control: it authenticates the caller, charges the rate limit and checks the access that the
 * method requires, in this order, so that rejected calls cost too.
 */
export function createAdmission(options: AdmissionOptions): Admission {
  const { authenticate, authorize, rateLimiter, errors, logCall, chargePeer } = options;
  const callerKeys = new CallerKeys();
  const check = async (call: ActiveCall): Promise<void> => {
    const { policy, authorization } = call.setup;
    if (policy === undefined) return;
    try {
      const beforeLookup = () => rateLimiter?.assertAuthAllowed(call);
      const principal = authenticateHeader(authenticate, authorization, beforeLookup);
      call.setPrincipal(principal instanceof Promise ? await principal : principal);
      callerKeys.add(call);
    } catch (error) {
      if (isFailedAuth(error)) await rateLimiter?.chargeFailedAuth(call);
      // The credential has no owner any more, so the address is charged, as for anonymous calls.
      if (isEndedCredential(error)) await rateLimiter?.charge(call, policy);
      throw error;
    }
    call.siteDenial = await rateLimiter?.charge(call, policy);
    authorize(call, policy);
  };
  const admit = async (call: ActiveCall, method: DescMethod): Promise<void> => {
    try {
      await check(call);
    } catch (error) {
      // A rejected call passes no interceptor.
      const translated = errors.translate(error, method);
      logCall(method, call, translated);
      if (translated.code === Code.ResourceExhausted) chargePeer(call.setup.peer);
      throw translated;
    }
  };
  return {
    admit,
    callerKey: (call) => callerKeys.keyOf(call),
    chargeRejected(call) {
      const { policy } = call.setup;
      if (policy === undefined || rateLimiter === undefined) return;
      chargePeer(call.setup.peer);
      call.setPrincipal(callerKeys.presumedPrincipal(call) ?? anonymous);
      // The call is rejected anyway.
      rateLimiter.charge(call, policy).catch(ignore);
    },
    async admitConnect(context) {
      completeErrors(context, errors.complete);
      const call = context.values.get(callKey);
      if (call === undefined) return;
      call.responseMetadata.handler = { header: context.responseHeader, trailer: context.responseTrailer };
      if (!call.hasPrincipal) await admit(call, context.method);
    },
  };
}

function ignore(): void {}
