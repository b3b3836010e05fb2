import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { AuditDetails, Call } from "../../kernel/call.ts";
import type { AppError } from "../../kernel/errors.ts";
import { anonymous, type Principal } from "../../kernel/principal.ts";
import type { Protocol } from "../protocol/content-type.ts";
import { CallLifetime, type LifetimeOptions } from "./call-lifetime.ts";
import type { ResponseMetadata } from "./response-metadata.ts";

/** The properties of a call that its headers determine. */
export interface CallSetup extends LifetimeOptions {
  readonly protocol: Protocol;
  readonly clientAddress: string;
  /** The address of the peer, which may be a proxy; undefined when its connection is closed. */
  readonly peer: string | undefined;
  readonly userAgent: string;
  /** The Authorization header, a secret. */
  readonly authorization: string | undefined;
  /** The header x-order-token, a secret; empty without one. */
  readonly orderToken: string;
  /** Absent for the standard services, such as health. */
  readonly policy: MethodPolicy | undefined;
  /** Longest wait for the next part of the body, in milliseconds. */
  readonly bodyIdleMs: number;
}

/** One call from its headers to its end: principal, lifetime and response metadata. */
export class ActiveCall implements Call {
  readonly setup: CallSetup;
  readonly lifetime: CallLifetime;
  readonly responseMetadata: ResponseMetadata = {
    cache: undefined,
    rateLimit: undefined,
    isPrivate: false,
    handler: undefined,
  };
  /** Set by admission control, for an anonymous call of class AUTH. */
  siteDenial: AppError | undefined;
  /** Set by the audit interceptor, for changes by staff and services. */
  audit: AuditDetails | undefined;
  #principal: Principal = anonymous;
  #principalSetAtMs = Number.NEGATIVE_INFINITY;

  constructor(setup: CallSetup) {
    this.setup = setup;
    this.lifetime = new CallLifetime(setup);
  }

  /** Sets the principal, authenticated now. */
  setPrincipal(principal: Principal): void {
    this.#principal = principal;
    this.#principalSetAtMs = performance.now();
  }

  get principal(): Principal {
    return this.#principal;
  }

  get hasPrincipal(): boolean {
    return this.#principalSetAtMs > Number.NEGATIVE_INFINITY;
  }

  /** Age of the authentication of the principal, in milliseconds. */
  get principalAgeMs(): number {
    return performance.now() - this.#principalSetAtMs;
  }

  onCommit(): void {
    this.lifetime.markCommitting();
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

  get orderToken(): string {
    return this.setup.orderToken;
  }
}
