import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Log } from "../../kernel/log.ts";
import { principalName } from "../../kernel/principal.ts";
import { codeName } from "../errors/connect-errors.ts";
import { methodKey } from "../policy/method-policy.ts";
import type { ActiveCall } from "./active-call.ts";

/**
 * The codes of faults of the service. UNAVAILABLE is not one of them: thousands may occur in a second, and the
 * throttled log reports them.
 */
const SERVER_FAULT_CODES: ReadonlySet<Code> = new Set([Code.Unknown, Code.Internal, Code.DataLoss]);

/** Rounds a duration to tenths of a millisecond. */
const roundMs = (ms: number) => Math.round(ms * 10) / 10;

/** Logs the end of a call, with OK unless there is an error. */
export type AccessLog = (method: DescMethod, call: ActiveCall | undefined, error?: unknown) => void;

/**
 * Creates the access log: one line for each call, with its method, code, duration and caller, never its content. The
 * level is debug, and warn for faults of the service.
 */
export function createAccessLog(log: Log): AccessLog {
  return (method, call, error) => {
    const code = error === undefined ? undefined : ConnectError.from(error).code;
    const fields = {
      method: methodKey(method),
      code: code === undefined ? "OK" : codeName(code),
      duration_ms: call === undefined ? undefined : roundMs(performance.now() - call.lifetime.startedAtMs),
      protocol: call?.setup.protocol,
      client_address: call?.clientAddress,
      caller: (call && principalName(call.principal)) || undefined,
    };
    if (code !== undefined && SERVER_FAULT_CODES.has(code)) log.warn(fields, "Call ended");
    else log.debug(fields, "Call ended");
  };
}
