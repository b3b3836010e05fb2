import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { AuditDetails, Call } from "../../kernel/call.ts";
import { anonymous, type Principal } from "../../kernel/principal.ts";
import type { Protocol } from "../protocol/content-type.ts";
import { CallLifetime, type LifetimeOptions } from "./call-lifetime.ts";
import type { ResponseNotes } from "./response-notes.ts";

/** What is known of a call when its headers have arrived. */
export interface CallSetup extends LifetimeOptions {
  readonly protocol: Protocol;
  readonly clientAddress: string;
  readonly userAgent: string;
  /** The Authorization header, a secret. */
  readonly authorization: string | undefined;
  /** Absent for the standard services, such as health. */
  readonly policy: MethodPolicy | undefined;
  /** How long the next part of the body may take, milliseconds. */
  readonly bodyIdleMs: number;
}

/** One call from its headers to its end: who calls, for how long, and what its response headers will state. */
export class ActiveCall implements Call {
  readonly setup: CallSetup;
  readonly lifetime: CallLifetime;
  readonly notes: ResponseNotes = {
    cache: undefined,
    rateLimit: undefined,
    isPrivate: false,
    connect: undefined,
  };
  /** Set by the audit interceptor, for changes by staff and services. */
  audit: AuditDetails | undefined;
  #principal: Principal = anonymous;
  #identifiedAtMs = Number.NEGATIVE_INFINITY;

  constructor(setup: CallSetup) {
    this.setup = setup;
    this.lifetime = new CallLifetime(setup);
  }

  /** Notes on whose behalf the call is made, as of now. */
  identify(principal: Principal): void {
    this.#principal = principal;
    this.#identifiedAtMs = performance.now();
  }

  get principal(): Principal {
    return this.#principal;
  }

  get isIdentified(): boolean {
    return this.#identifiedAtMs > Number.NEGATIVE_INFINITY;
  }

  /** How long ago the principal was noted, milliseconds. */
  get principalAgeMs(): number {
    return performance.now() - this.#identifiedAtMs;
  }

  get signal(): AbortSignal {
    return this.lifetime.signal;
  }

  get deadlineAtMs(): number {
    return this.lifetime.deadlineAtMs;
  }

  get clientAddress(): string {
    return this.setup.clientAddress;
  }

  get userAgent(): string {
    return this.setup.userAgent;
  }
}
