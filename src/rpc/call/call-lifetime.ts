import { type AppError, isOutcomeUnknown, outcomeUnknown } from "../../kernel/errors.ts";
import { callCancelled, deadlineExceeded } from "../errors/call-errors.ts";
import { toConnectError } from "../errors/connect-errors.ts";

/** The time limits of a call, in milliseconds, and its abort function. */
export interface LifetimeOptions {
  /** From now to the deadline. Infinity: there is none. */
  readonly timeoutMs: number;
  /** Longest time that the handler may run after its signal has aborted. */
  readonly settleMs: number;
  /** Longest time for the caller to receive the complete response. */
  readonly deliveryMs: number;
  /** Ends the exchange without a response. */
  readonly abort: () => void;
}

/**
 * The deadline and the end of one call, from its headers on. A call receives its request, then its handler runs, then
 * its response is delivered. A stop (deadline, disconnect, stalled body) ends the wait for the request immediately; a
 * running handler gets the signal and `settleMs` to finish. Connect itself would wait for such a handler without limit.
 */
export class CallLifetime {
  /** When the headers arrived, in milliseconds of `performance.now()`. */
  readonly startedAtMs: number;
  readonly deadlineAtMs: number;
  /**
   * When a stream of responses handed its last message over, in milliseconds of `performance.now()`; undefined while the
   * handler is awaited for the next one.
   */
  deliveringSinceMs: number | undefined;
  readonly #options: LifetimeOptions;
  /** Created on first use: most calls end before anyone listens. */
  #controller: AbortController | undefined;
  #phase: "receiving" | "running" | "delivering" = "receiving";
  #isClosed = false;
  #mayBeCommitted = false;
  #stopReason: AppError | undefined;
  /** The time to settle after the stop has passed. */
  #isAbandoned = false;
  #timer: NodeJS.Timeout | undefined;
  /** Set while a part of the request is awaited. */
  #rejectRequest: ((reason: Error) => void) | undefined;
  #rejectWork: ((reason: Error) => void) | undefined;

  constructor(options: LifetimeOptions) {
    this.#options = options;
    this.startedAtMs = performance.now();
    this.deadlineAtMs = this.startedAtMs + options.timeoutMs;
    if (options.timeoutMs < Number.POSITIVE_INFINITY) {
      this.#timer = setTimeout(CallLifetime.#passDeadline, options.timeoutMs, this);
    }
  }

  /** Aborts with the reason when the call is stopped. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#stopReason !== undefined) this.#controller.abort(this.#stopReason);
    }
    return this.#controller.signal;
  }

  /** Whether the exchange is over: the response was sent, or the caller has disconnected. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  get isAwaitingRequest(): boolean {
    return this.#rejectRequest !== undefined;
  }

  /**
   * Waits for a part of the request, until the call is stopped.
   * @throws ConnectError when it is: no interceptor translates errors on the way from here
   */
  awaitRequest<T>(part: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#stopReason !== undefined) reject(toConnectError(this.#stopReason));
      this.#rejectRequest = reject;
      part.then((value) => {
        this.#rejectRequest = undefined;
        resolve(value);
      }, reject);
    });
  }

  /**
   * Marks the request as received and the handler as running.
   * @throws AppError when the call is stopped already
   */
  begin(): void {
    if (performance.now() >= this.deadlineAtMs) CallLifetime.#passDeadline(this);
    this.assertNotStopped();
    this.#phase = "running";
  }

  /** @throws AppError the reason of the stop, when the call is stopped */
  assertNotStopped(): void {
    if (this.#stopReason !== undefined) throw this.#stopReason;
  }

  /** Marks that changes of the call may be committed: a deadline that passes leaves their outcome unknown. */
  markCommitting(): void {
    this.#mayBeCommitted = true;
  }

  /**
   * Waits for work of the handler. After a stop the work is awaited for `settleMs` more: it may be past its commit,
   * and then its response counts.
   * @throws AppError deadline_exceeded or cancelled for work that then fails or does not settle. For a deadline its
   *   reason is OUTCOME_UNKNOWN if the work says so, or if its changes may be committed
   */
  settle<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#isAbandoned) reject(this.#stopError);
      this.#rejectWork = reject;
      work.then(resolve, (error: unknown) =>
        reject(isOutcomeUnknown(error) ? error : (this.#stopError ?? error)),
      );
    });
  }

  /** Marks the handler as done. The caller has `deliveryMs` to receive the response. */
  finish(): void {
    this.#phase = "delivering";
    clearTimeout(this.#timer);
    this.#limitDelivery();
  }

  /** Marks the exchange as closed. A call whose response is not complete is cancelled. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // A handler that was stopped before keeps its time to settle.
    if (this.#phase !== "running") clearTimeout(this.#timer);
    if (this.#phase !== "delivering") this.stop(callCancelled());
  }

  /** Stops the call for a reason, once. */
  stop(reason: AppError): void {
    if (this.#stopReason !== undefined) return;
    this.#stopReason = reason;
    clearTimeout(this.#timer);
    if (this.#phase === "running") {
      this.#timer = setTimeout(CallLifetime.#abandon, this.#options.settleMs, this);
    } else {
      this.#limitDelivery();
    }
    this.#controller?.abort(reason);
    this.#rejectRequest?.(toConnectError(reason));
  }

  /** The error of the stopped call. */
  get #stopError(): AppError | undefined {
    const isInDoubt = this.#mayBeCommitted && this.#stopReason?.code === "deadline_exceeded";
    return isInDoubt ? outcomeUnknown() : this.#stopReason;
  }

  #limitDelivery(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(this.#options.abort, this.#options.deliveryMs);
  }

  static #passDeadline(this: void, lifetime: CallLifetime): void {
    lifetime.stop(deadlineExceeded(lifetime.#options.timeoutMs));
  }

  static #abandon(this: void, lifetime: CallLifetime): void {
    lifetime.#isAbandoned = true;
    const error = lifetime.#stopError;
    if (error !== undefined) lifetime.#rejectWork?.(error);
  }
}
