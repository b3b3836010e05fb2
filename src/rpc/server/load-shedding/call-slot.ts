import type { Caller, Callers, IncompleteRequest, SlotRequest } from "./callers.ts";

/** The slot of a call. Receiving and running calls hold one; stalled and sending ones do not. */
export interface Slot {
  /**
   * Marks that the body of the call is awaited.
   * @param caller key of the authenticated caller
   * @param stop ends the call when too many bytes of incomplete bodies are held
   */
  startReceiving(caller: string, stop: () => void): void;
  /** Counts bytes of the body, which are held until the request has arrived. */
  addReceived(bytes: number): void;
  /**
   * Marks that the request has arrived.
   * @returns false when it lost its slot meanwhile, and there is no other for this caller
   */
  finishReceiving(): boolean;
  /**
   * Frees the slot of a call whose response is complete, and counts the response until it is sent.
   * @param abort ends the exchange without waiting for the caller any longer
   */
  startSending(bytes: number, abort: () => void): void;
  /** Ends the call: its exchange is over. */
  release(): void;
}

/** The slots and the counts of the load shedder that the slot of a call changes. */
export interface SlotPool {
  readonly callers: Callers<CallSlot>;
  readonly options: { readonly maxReceivedBytes: number };
  readonly nowMs: () => number;
  /** Number of calls that hold a slot, and of those among them that are running. */
  concurrent: number;
  running: number;
  /** Bytes of incomplete bodies. */
  receivedBytes: number;
  /** Returns whether a caller may have another slot, and makes one free. */
  canReserve(caller: string): boolean;
  /** Returns whether a caller may have another running call. */
  canRun(caller: Caller<CallSlot>): boolean;
  /** Counts the response of a call until it is sent, and aborts the oldest ones if they are too many bytes. */
  addUnsent(slot: CallSlot): void;
  removeUnsent(slot: CallSlot): void;
}

/** A call from its slot to the end of its exchange. */
export class CallSlot implements Slot, IncompleteRequest {
  readonly request: SlotRequest;
  sinceMs = 0;
  receivedBytes = 0;
  unsentBytes = 0;
  abort: () => void = ignore;
  caller: Caller<CallSlot>;
  readonly #pool: SlotPool;
  #state: "running" | "receiving" | "stalled" | "sending" | "released" = "running";
  #stop: () => void = ignore;

  /** Takes a slot that is free. */
  constructor(pool: SlotPool, request: SlotRequest, caller: string) {
    this.#pool = pool;
    this.request = request;
    this.caller = pool.callers.addCall(caller);
    pool.concurrent += 1;
    this.#run();
  }

  startReceiving(caller: string, stop: () => void): void {
    if (this.#state !== "running") return;
    const { callers, nowMs } = this.#pool;
    this.#endRunning();
    if (caller !== this.caller.key) {
      callers.removeCall(this.caller);
      this.caller = callers.addCall(caller);
    }
    this.#state = "receiving";
    this.#stop = stop;
    this.sinceMs = nowMs();
    callers.addReceiving(this.caller, this);
  }

  addReceived(bytes: number): void {
    if (this.#state !== "receiving" && this.#state !== "stalled") return;
    this.#countReceived(bytes);
    const { callers, options } = this.#pool;
    if (this.#pool.receivedBytes <= options.maxReceivedBytes) return;
    callers.largestRequest()?.stop();
  }

  finishReceiving(): boolean {
    if (this.#state === "receiving") {
      if (!this.#pool.canRun(this.caller)) return false;
    } else if (this.#state === "stalled") {
      if (!this.#pool.canReserve(this.caller.key)) return false;
      this.#pool.concurrent += 1;
    } else return true;
    this.startRunning();
    return true;
  }

  startSending(bytes: number, abort: () => void): void {
    if (this.#state === "sending" || this.#state === "released") return;
    this.#leave();
    this.#state = "sending";
    this.unsentBytes = bytes;
    this.abort = abort;
    this.#pool.addUnsent(this);
  }

  release(): void {
    if (this.#state === "released") return;
    if (this.#state === "sending") this.#pool.removeUnsent(this);
    else this.#leave();
    this.#state = "released";
    this.#pool.callers.removeCall(this.caller);
  }

  /** Ends the wait for the request. */
  startRunning(): void {
    this.#endIncomplete();
    this.#run();
  }

  /** Loses the slot until the request has arrived. */
  stall(): void {
    this.#pool.callers.removeReceiving(this.caller, this);
    this.#pool.concurrent -= 1;
    this.#state = "stalled";
    this.caller.stalled.add(this);
  }

  /** Ends the call, whose body is no longer held. */
  stop(): void {
    this.#countReceived(-this.receivedBytes);
    this.#stop();
  }

  #run(): void {
    this.#state = "running";
    this.#pool.running += 1;
    this.#pool.callers.addRunning(this.caller);
  }

  #endRunning(): void {
    this.#pool.running -= 1;
    this.#pool.callers.removeRunning(this.caller);
  }

  #endIncomplete(): void {
    if (this.#state === "receiving") this.#pool.callers.removeReceiving(this.caller, this);
    else this.caller.stalled.delete(this);
    this.#countReceived(-this.receivedBytes);
  }

  /** Gives the slot up, if the call has one. */
  #leave(): void {
    if (this.#state === "running") this.#endRunning();
    else this.#endIncomplete();
    if (this.#state !== "stalled") this.#pool.concurrent -= 1;
  }

  #countReceived(bytes: number): void {
    this.receivedBytes += bytes;
    this.caller.receivedBytes += bytes;
    this.#pool.receivedBytes += bytes;
  }
}

function ignore(): void {}
