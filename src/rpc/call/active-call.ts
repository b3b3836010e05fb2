import type { Readable } from "node:stream";
import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { AuditDetails, Call } from "../../kernel/call.ts";
import { AppError } from "../../kernel/errors.ts";
import { anonymous, type Principal } from "../../kernel/principal.ts";
import { toConnectError } from "../interceptors/errors.ts";

/** The wire's side of a call: what it is, and its bounds. */
export interface CallSetup {
  protocol: "grpc" | "grpc-web" | "connect";
  clientAddress: string;
  userAgent: string;
  /** The credential that the caller shows, a secret. */
  authorization: string | undefined;
  /** Absent for protocols of others, such as health. */
  policy: MethodPolicy | undefined;
  /** How long it may take from now, milliseconds. Infinity: as long as the caller stays. */
  timeoutMs: number;
  /** How long the next part of the request may be waited for, milliseconds. */
  bodyIdleMs: number;
  /** How long a handler may go on once it was told to stop, milliseconds. */
  settleMs: number;
  /** How long the caller may take to receive the answer once it is complete, milliseconds. */
  deliveryMs: number;
  /** Ends the exchange without an answer. */
  cut(): void;
}

/** How the cache answered a call. */
export interface CacheNote {
  /** Which tier had the answer; `miss`: none, `bypass`: neither was asked. */
  readonly state: "memory" | "redis" | "miss" | "bypass";
  /** Names the answer's content, without quotes; empty for errors and where nobody wants to know. */
  readonly etag: string;
  /** How long ago the answer was made, milliseconds. */
  readonly ageMs: number;
}

/** What a call has left in its budget. */
export interface QuotaNote {
  /** The size of the budget, and what is left of it, in units of cost. */
  readonly limit: number;
  readonly remaining: number;
  /** When it is whole again if nothing more is spent, milliseconds from now. */
  readonly resetMs: number;
  /** Refused: when the same call may be tried again, milliseconds from now. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * One call from its headers to its end. It owns the deadline: Connect would tell the handler of it and
 * then wait for that handler for ever.
 */
export class ActiveCall implements Call {
  readonly setup: CallSetup;
  /** When its headers came, in milliseconds of `performance.now()`. */
  readonly startedAtMs: number;
  readonly deadlineAtMs: number;
  /** Set by the cache interceptor, for methods whose policy lets them be cached; told in the headers. */
  cached: CacheNote | undefined;
  /** Set before the request is read, once it is known who calls. */
  principal: Principal = anonymous;
  /** When that was found out, in milliseconds of `performance.now()`. */
  identifiedAtMs = Number.NEGATIVE_INFINITY;
  audit: AuditDetails | undefined;
  /** Set by the limits, for methods with a policy; told in the headers. */
  quota: QuotaNote | undefined;
  /** The answer is not for everyone who asks the same: caches outside may not keep it. */
  isPrivate = false;
  /** Connect's own headers and trailers of the answer, where it has them: whoever answers for the handler uses them. */
  answer: { readonly header: Headers; readonly trailer: Headers } | undefined;
  /** Made when somebody listens: most calls are over before anybody does. */
  #controller: AbortController | undefined;
  #phase: "arriving" | "running" | "over" = "arriving";
  #closed = false;
  /** Why it was told to stop. */
  #stopped: AppError | undefined;
  /** The time to settle after the stop has passed. */
  #abandoned = false;
  #timer: NodeJS.Timeout | undefined;
  /** Set while more of the request is waited for. */
  #rejectRead: ((reason: Error) => void) | undefined;
  #rejectWork: ((reason: Error) => void) | undefined;

  constructor(setup: CallSetup) {
    this.setup = setup;
    this.startedAtMs = performance.now();
    this.deadlineAtMs = this.startedAtMs + setup.timeoutMs;
    if (setup.timeoutMs < Number.POSITIVE_INFINITY) {
      this.#timer = setTimeout(ActiveCall.#passDeadline, setup.timeoutMs, this);
    }
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#stopped !== undefined) this.#controller.abort(this.#stopped);
    }
    return this.#controller.signal;
  }

  /** Whether it passed the gate: it is known who calls, and that they may. */
  get isAdmitted(): boolean {
    return this.identifiedAtMs > Number.NEGATIVE_INFINITY;
  }

  /** Nobody is there to be answered. */
  get closed(): boolean {
    return this.#closed;
  }

  get clientAddress(): string {
    return this.setup.clientAddress;
  }

  get userAgent(): string {
    return this.setup.userAgent;
  }

  /** The request's body. Waiting for more of it ends when the call is stopped. */
  async *body(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const chunks = source[Symbol.asyncIterator]();
    // A shorter deadline ends the wait anyhow.
    const { bodyIdleMs, timeoutMs } = this.setup;
    const idle = timeoutMs > bodyIdleMs ? setTimeout(ActiveCall.#stall, bodyIdleMs, this) : undefined;
    try {
      for (;;) {
        idle?.refresh();
        const chunk = await this.#read(chunks.next());
        this.#rejectRead = undefined;
        if (chunk.done === true) return;
        yield chunk.value;
      }
    } finally {
      clearTimeout(idle);
      // Not awaited: it would wait behind a read that never ends.
      chunks.return?.().catch(ignore);
    }
  }

  /**
   * The whole body at once, or as much of it as is too much. Waiting for it ends when the call is stopped.
   * @param bound how many bytes it may have, as far as its beginning tells
   * @throws ConnectError when it does not come in time
   */
  async gather(source: Readable, bound: (beginning: Buffer) => number): Promise<Buffer> {
    const { bodyIdleMs, timeoutMs } = this.setup;
    const idle = timeoutMs > bodyIdleMs ? setTimeout(ActiveCall.#stall, bodyIdleMs, this) : undefined;
    const all = new Promise<Buffer>((resolve) => {
      const chunks: Buffer[] = [];
      let size = 0;
      const onData = (chunk: Buffer) => {
        idle?.refresh();
        chunks.push(chunk);
        size += chunk.length;
        if (size > bound(chunks[0] ?? chunk)) onEnd();
      };
      const onEnd = () => {
        source.off("data", onData);
        const [only] = chunks;
        resolve(chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks));
      };
      source.on("data", onData);
      source.once("end", onEnd);
      // An empty one may be over before anybody listens.
      if (source.readableEnded) onEnd();
    });
    try {
      return await this.#read(all);
    } finally {
      this.#rejectRead = undefined;
      clearTimeout(idle);
    }
  }

  /** The request is here and the handler begins. @throws AppError when it is too late for that */
  begin(): void {
    if (performance.now() >= this.deadlineAtMs) ActiveCall.#passDeadline(this);
    if (this.#stopped !== undefined) throw this.#stopped;
    this.#phase = "running";
  }

  /**
   * Waits for work of the handler. When the call is stopped, the signal tells the handler, and its work is
   * waited for a little longer: it may be past its commit, and then its answer counts.
   * @throws AppError deadline_exceeded or cancelled for work that then fails or does not settle
   */
  settle<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#abandoned) reject(this.#stopped);
      this.#rejectWork = reject;
      work.then(resolve, (error: unknown) => reject(this.#stopped ?? error));
    });
  }

  /** The handler is done; what remains is to deliver its answer. */
  end(): void {
    this.#phase = "over";
    clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(this.setup.cut, this.setup.deliveryMs);
  }

  /** The exchange is closed: answered, or left by the caller. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // A handler that was told to stop already keeps its time to settle.
    if (this.#phase !== "running") clearTimeout(this.#timer);
    if (this.#phase !== "over") this.#stop(callerLeft());
  }

  #stop(reason: AppError): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = reason;
    clearTimeout(this.#timer);
    if (this.#phase === "running") {
      this.#timer = setTimeout(ActiveCall.#abandon, this.setup.settleMs, this, reason);
    } else if (!this.#closed) {
      this.#timer = setTimeout(this.setup.cut, this.setup.deliveryMs);
    }
    this.#controller?.abort(reason);
    this.#rejectRead?.(toConnectError(reason));
  }

  /** Rejects with what Connect can write: no interceptor is passed on the way from here. */
  #read<T>(next: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#stopped !== undefined) reject(toConnectError(this.#stopped));
      this.#rejectRead = reject;
      next.then(resolve, reject);
    });
  }

  static #passDeadline(this: void, call: ActiveCall): void {
    call.#stop(deadlinePassed(call.setup.timeoutMs));
  }

  static #stall(this: void, call: ActiveCall): void {
    // A handler that takes its time over what has come is not the caller's fault.
    if (call.#rejectRead !== undefined) call.#stop(requestStalled());
  }

  static #abandon(this: void, call: ActiveCall, reason: AppError): void {
    call.#abandoned = true;
    call.#rejectWork?.(reason);
  }
}

/** What a call is told that was not done in its time. */
export function deadlinePassed(timeoutMs: number): AppError {
  return new AppError(
    "deadline_exceeded",
    `Not done within ${Math.round(timeoutMs)} ms. Allow more time, or ask for less at once.`,
    { reason: "DEADLINE_EXCEEDED", metadata: { timeout_ms: String(Math.round(timeoutMs)) } },
  );
}

function requestStalled(): AppError {
  return new AppError("deadline_exceeded", "The rest of the request did not arrive. Send it again at once.", {
    reason: "REQUEST_STALLED",
  });
}

function callerLeft(): AppError {
  return new AppError("cancelled", "The caller has left.", { reason: "CANCELLED" });
}

function ignore(): void {}

/** Where serving puts the call, and interceptors find it. */
export const callKey = createContextKey<ActiveCall | undefined>(undefined, { description: "call" });

/** What domain code is told of the call that a handler works for. */
export function getCall(context: HandlerContext): Call {
  const call = context.values.get(callKey);
  if (call !== undefined) return call;
  const timeoutMs = context.timeoutMs() ?? Number.POSITIVE_INFINITY;
  const deadlineAtMs = performance.now() + timeoutMs;
  return { signal: context.signal, deadlineAtMs, clientAddress: "", userAgent: "", principal: anonymous };
}
