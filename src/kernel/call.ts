/** What domain code knows of the call that it works for. */
export interface Call {
  /** Aborts when the caller has gone or the deadline has passed: nothing may be committed after that. */
  readonly signal: AbortSignal;
  /** When the deadline passes, in milliseconds of `performance.now()`. */
  readonly deadlineAtMs: number;
  /** The network address of the caller, as far as the proxies that we trust tell it. */
  readonly clientAddress: string;
}

/** A call of the service's own, such as seeding: no deadline, no caller. */
export function internalCall(signal: AbortSignal = new AbortController().signal): Call {
  return { signal, deadlineAtMs: Number.POSITIVE_INFINITY, clientAddress: "" };
}
