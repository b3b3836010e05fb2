import type { Call } from "../../kernel/call.ts";
import { outcomeUnknown } from "../../kernel/errors.ts";
import { abortReason } from "../postgres/connection/pool-client.ts";

/** What became of an item: its result, or the error that its caller gets. */
export type Outcome<Result> = { readonly result: Result } | { readonly error: unknown };

/**
 * One call in the writer. It can leave, by its deadline or its caller's disconnect, until its batch sends its writes.
 * Afterwards a disconnect changes nothing, and a passed deadline responds with OUTCOME_UNKNOWN.
 */
export class Member<Item, Result> {
  readonly call: Call;
  readonly item: Item;
  /** The names of all rows that the item locks. */
  readonly keys: readonly string[];
  /** When the call arrived, in milliseconds of `performance.now()`. */
  readonly arrivedAtMs = performance.now();
  /** Resolves with the result; rejects with the error of the item, and when the call leaves. */
  readonly response: Promise<Result>;
  /** Called when the call leaves before its writes are sent. */
  onLeave: () => void = () => {};
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

  /** Whether the call has its response: its outcome, or that it has left. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** Marks whether the writes of the item are sent in the current attempt. */
  setSent(isSent: boolean): void {
    this.#isSent = isSent;
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
    if (!this.#isSent) {
      this.settle({ error: reason });
      this.onLeave();
    } else if (reason.code === "deadline_exceeded") {
      this.settle({ error: outcomeUnknown() });
    }
  };
}
