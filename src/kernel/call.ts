import type { AppError } from "./errors.ts";
import { type Principal, system } from "./principal.ts";

/** The context of a call that features receive. */
export interface Call {
  /** Aborts when the caller disconnects or the deadline passes. No COMMIT may be sent after that. */
  readonly signal: AbortSignal;
  /** Deadline, in milliseconds of `performance.now()`. */
  readonly deadlineAtMs: number;
  /** The caller's network address, behind the trusted proxies. */
  readonly clientAddress: string;
  /** The caller's User-Agent header; empty without one. */
  readonly userAgent: string;
  /** The caller. Access to the method has been checked. */
  readonly principal: Principal;
  /** The header x-order-token, a secret that features verify; empty without one. */
  readonly orderToken: string;
  /**
   * The rejection of an anonymous call of class AUTH by the budget of its IPv6 site. A sign-in throws it, unless it is
   * from a network that the account has used before: others in the site must not lock the owner out.
   */
  readonly siteDenial?: AppError | undefined;
  /** Audit details of the call's changes; undefined when the call is not audited. */
  readonly audit?: AuditDetails | undefined;
  /**
   * Called before each COMMIT of the call's own transactions: its changes may be committed from then on. A call that
   * shares a transaction learns from the batch writer whether its outcome is unknown.
   */
  onCommit?(): void;
}

/** The fields of an audit entry besides the caller. */
export interface AuditDetails {
  readonly role: string;
  readonly method: string;
  /** The request as JSON, without secrets. */
  readonly request: string;
}

/** Returns a call of the service's own, such as seeding: no deadline, no caller. */
export function internalCall(signal: AbortSignal = new AbortController().signal): Call {
  const deadlineAtMs = Number.POSITIVE_INFINITY;
  return { signal, deadlineAtMs, clientAddress: "", userAgent: "", principal: system, orderToken: "" };
}

/** Returns the same call for bookkeeping, such as counters, that the audit log leaves out. */
export function withoutAudit(call: Call): Call {
  const { signal, deadlineAtMs, clientAddress, userAgent, principal, orderToken } = call;
  return { signal, deadlineAtMs, clientAddress, userAgent, principal, orderToken };
}
