import { type Principal, system } from "./principal.ts";

/** What domain code knows of the call that it works for. */
export interface Call {
  /** Aborts when the caller has gone or the deadline has passed: nothing may be committed after that. */
  readonly signal: AbortSignal;
  /** When the deadline passes, in milliseconds of `performance.now()`. */
  readonly deadlineAtMs: number;
  /** The network address of the caller, as far as the proxies that we trust tell it. */
  readonly clientAddress: string;
  /** What the caller calls itself (User-Agent); empty when it does not. */
  readonly userAgent: string;
  /** On whose behalf it is made. Whether they may call the method is decided already. */
  readonly principal: Principal;
  /** What is noted of the changes that it makes; absent: nothing. */
  readonly audit?: AuditDetails | undefined;
}

/** What is noted, beside who it was, of a change by those who may change other people's things. */
export interface AuditDetails {
  readonly role: string;
  readonly method: string;
  /** What was asked for, as JSON without secrets. */
  readonly request: string;
}

/** A call of the service's own, such as seeding: no deadline, no caller. */
export function internalCall(signal: AbortSignal = new AbortController().signal): Call {
  const deadlineAtMs = Number.POSITIVE_INFINITY;
  return { signal, deadlineAtMs, clientAddress: "", userAgent: "", principal: system };
}

/** The same call for something that is no change of what it is about, such as counting it. */
export function withoutAudit({ signal, deadlineAtMs, clientAddress, userAgent, principal }: Call): Call {
  return { signal, deadlineAtMs, clientAddress, userAgent, principal };
}
