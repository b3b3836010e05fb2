/** The part of a request that load shedding reads. */
export interface SlotRequest {
  /** Whether all of the request has arrived. */
  readonly complete: boolean;
}

/** A request that has not arrived completely. */
export interface IncompleteRequest {
  readonly request: SlotRequest;
  /** When its body began to be awaited, in milliseconds of a monotonic clock. */
  readonly sinceMs: number;
  /** Bytes of the body that have arrived. */
  readonly receivedBytes: number;
}

/** The calls of one caller. */
export interface Caller<Request extends IncompleteRequest> {
  readonly key: string;
  /** Number of calls, in any state. */
  calls: number;
  /** Number of running calls. */
  running: number;
  /** The incomplete requests that hold a slot, oldest first. */
  readonly receiving: Set<Request>;
  /** The incomplete requests that have lost their slots. */
  readonly stalled: Set<Request>;
  /** Bytes of the incomplete requests. */
  receivedBytes: number;
}

/** The callers that have calls. */
export class Callers<Request extends IncompleteRequest> {
  /** Number of callers with running calls. */
  running = 0;
  readonly #callers = new Map<string, Caller<Request>>();
  /** Those with incomplete requests that hold a slot: no more than there are slots. */
  readonly #receivers = new Set<Caller<Request>>();

  find(key: string): Caller<Request> | undefined {
    return this.#callers.get(key);
  }

  /** Adds a call of a caller. */
  addCall(key: string): Caller<Request> {
    let caller = this.#callers.get(key);
    if (caller === undefined) {
      caller = { key, calls: 0, running: 0, receiving: new Set(), stalled: new Set(), receivedBytes: 0 };
      this.#callers.set(key, caller);
    }
    caller.calls += 1;
    return caller;
  }

  removeCall(caller: Caller<Request>): void {
    caller.calls -= 1;
    if (caller.calls === 0) this.#callers.delete(caller.key);
  }

  addRunning(caller: Caller<Request>): void {
    caller.running += 1;
    if (caller.running === 1) this.running += 1;
  }

  removeRunning(caller: Caller<Request>): void {
    caller.running -= 1;
    if (caller.running === 0) this.running -= 1;
  }

  addReceiving(caller: Caller<Request>, request: Request): void {
    if (caller.receiving.size === 0) this.#receivers.add(caller);
    caller.receiving.add(request);
  }

  removeReceiving(caller: Caller<Request>, request: Request): void {
    caller.receiving.delete(request);
    if (caller.receiving.size === 0) this.#receivers.delete(caller);
  }

  /** Returns the caller with the most incomplete requests that hold a slot. */
  largestReceiver(): Caller<Request> | undefined {
    let largest: Caller<Request> | undefined;
    for (const caller of this.#receivers) {
      if (largest === undefined || caller.receiving.size > largest.receiving.size) largest = caller;
    }
    return largest;
  }

  /** Returns the largest incomplete request of the caller whose incomplete requests have the most bytes. */
  largestRequest(): Request | undefined {
    let largest: Caller<Request> | undefined;
    for (const caller of this.#callers.values()) {
      if (caller.receivedBytes > (largest?.receivedBytes ?? 0)) largest = caller;
    }
    if (largest === undefined) return undefined;
    const incomplete = [...largest.receiving, ...largest.stalled];
    return incomplete.reduce((one, other) => (other.receivedBytes > one.receivedBytes ? other : one));
  }
}
