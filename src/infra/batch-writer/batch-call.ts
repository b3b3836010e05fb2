import type { Call } from "../../kernel/call.ts";
import { AppError, outcomeUnknown } from "../../kernel/errors.ts";
import { abortReason } from "../postgres/connection/pool-client.ts";

/** What became of an item: its result, or the error that its caller gets. */
export type Outcome<Result> = { readonly result: Result } | { readonly error: unknown };

/**
 * One call in the writer. Its deadline or its caller's disconnect aborts it until its batch sends its writes.
 * Afterwards a disconnect changes nothing, and a passed deadline responds with OUTCOME_UNKNOWN.
 */
export class BatchCall<Item, Result> {
  readonly call: Call;
  readonly item: Item;
  /** The names of all rows that the item locks. */
  readonly keys: readonly string[];
  /** When the call arrived, in milliseconds of `performance.now()`. */
  readonly arrivedAtMs = performance.now();
  /** Resolves with the result; rejects with the error of the item, and when the call is aborted. */
  readonly response: Promise<Result>;
  /** Called when the call is aborted before its writes are sent. */
  onAborted: () => void = () => {};
  #mayBeCommitted = false;
  #isSent = false;
  #isSettled = false;
  readonly #resolve: (result: Result) => void;
  readonly #reject: (error: unknown) => void;

  constructor(call: Call, item: Item, keys: readonly string[]) {
    this.call = call;
    this.item = item;
    this.keys = keys;
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    this.response = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    call.signal.addEventListener("abort", this.#abort, { once: true });
  }

  /** Whether the call has its response: its outcome, or that it was aborted. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** Records that an attempt may have been committed, because its COMMIT got no response. */
  setMayBeCommitted(): void {
    this.#mayBeCommitted = true;
  }

  /** Records whether the writes of the item are sent in the current attempt. */
  setSent(isSent: boolean): void {
    this.#isSent = isSent;
  }

  /**
   * Settles a call whose last attempt failed. If an earlier attempt may be committed, the response does not claim the
   * contrary; UNAVAILABLE claims nothing.
   */
  fail(error: unknown): void {
    const isUnavailable = error instanceof AppError && error.code === "unavailable";
    this.settle({ error: this.#mayBeCommitted && !isUnavailable ? outcomeUnknown(error) : error });
  }

  settle(outcome: Outcome<Result>): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.call.signal.removeEventListener("abort", this.#abort);
    if ("result" in outcome) this.#resolve(outcome.result);
    else this.#reject(outcome.error);
  }

  readonly #abort = (): void => {
    const reason = abortReason(this.call.signal);
    if (!this.#isSent && !this.#mayBeCommitted) {
      this.settle({ error: reason });
      this.onAborted();
    } else if (reason.code === "deadline_exceeded") {
      this.settle({ error: outcomeUnknown() });
    }
  };
}
