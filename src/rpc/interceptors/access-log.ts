import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { Log } from "../../kernel/log.ts";
import { principalName } from "../../kernel/principal.ts";
import { type ActiveCall, callKey } from "../call/active-call.ts";
import { methodKey } from "../policy/method-policy.ts";

/**
 * Codes that say something of us, not of the caller. UNAVAILABLE is not among them: it comes by the thousand,
 * and the error interceptor tells of it.
 */
const ourFault: ReadonlySet<Code> = new Set([Code.Unknown, Code.Internal, Code.DataLoss]);

/** Writes how a call ended. */
export type WriteCall = (method: DescMethod, call: ActiveCall | undefined, error?: unknown) => void;

/**
 * One line a call: the method, how it ended, how long it took, who called; never what was said. At debug,
 * and at warn when the fault is ours.
 */
export function createWriteCall(log: Log): WriteCall {
  return (method, call, error) => {
    const code = error === undefined ? undefined : ConnectError.from(error).code;
    const fields = {
      method: methodKey(method),
      code: code === undefined ? "OK" : codeName(code),
      duration_ms: call === undefined ? undefined : performance.now() - call.startedAtMs,
      protocol: call?.setup.protocol,
      client_address: call?.clientAddress,
      caller: (call && principalName(call.principal)) || undefined,
    };
    if (code !== undefined && ourFault.has(code)) log.warn(fields, "call");
    else log.debug(fields, "call");
  };
}

/** Writes each call that passes. */
export function createLogInterceptor(write: WriteCall): Interceptor {
  return (next) => async (request) => {
    const call = request.contextValues.get(callKey);
    try {
      const response = await next(request);
      if (!response.stream) {
        write(request.method, call);
        return response;
      }
      const messages = response.message;
      return { ...response, message: written(messages, (error) => write(request.method, call, error)) };
    } catch (error) {
      write(request.method, call, error);
      throw error;
    }
  };
}

async function* written<T>(messages: AsyncIterable<T>, done: (error?: unknown) => void): AsyncGenerator<T> {
  let failure: unknown;
  try {
    yield* messages;
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    done(failure);
  }
}

/** As gRPC spells it: DEADLINE_EXCEEDED. */
export function codeName(code: Code): string {
  return code === Code.Canceled ? "CANCELLED" : Code[code].replace(/(?<=.)[A-Z]/g, "_$&").toUpperCase();
}
