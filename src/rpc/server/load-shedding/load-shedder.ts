import { type CountedWarning, createCountedWarning, type Log } from "../../../kernel/log.ts";
import { CallSlot, type Slot, type SlotPool } from "./call-slot.ts";
import { type Caller, Callers, type SlotRequest } from "./callers.ts";

export type { Slot, SlotRequest };

/** Bounds the concurrent calls, the bodies that are arriving, and the responses that callers do not receive. */
export interface LoadShedder {
  /**
   * Acquires a slot for a call.
   * @param caller key of the caller, as far as it is known before authentication
   * @returns undefined when there is none for this caller
   */
  acquire(request: SlotRequest, caller: string): Slot | undefined;
}

/** Dependencies of the load shedder. */
export interface LoadShedderOptions {
  /** The plural of what is bounded, for the log. */
  name: "Calls" | "Watches" | "Webhooks";
  /** The most concurrent calls. Calls beyond it are rejected. */
  maxCalls: number;
  /** The most bytes of incomplete bodies. Beyond it the caller with the most of them loses its largest. */
  maxReceivedBytes: number;
  /** The most bytes of unsent responses. Beyond it the oldest are aborted. */
  maxUnsentBytes: number;
  /** Time for which an incomplete request keeps its slot while its own caller needs it, in milliseconds. */
  slotBodyMs: number;
  log: Log;
  /** Milliseconds of a monotonic clock. */
  nowMs?: () => number;
}

/** The part of all slots that only callers with less than a fair share may use. */
const RESERVED_PART = 1 / 8;

/**
 * Creates the load shedder: it rejects calls that would have to wait for others, and shares the slots by caller.
 *
 * Incomplete requests cause no work. When all slots are in use, one of the caller with the most incomplete requests loses
 * its slot to a caller with fewer, and needs another when it has arrived. A caller takes slots from its own requests, and
 * from those of a caller with as many, only when they have stalled for `slotBodyMs`.
 *
 * Running calls keep their slots, so an eighth of the slots is reserved for callers with less than a fair share: all
 * slots divided by the callers with running calls and one more. No caller can fill the server alone.
 */
export function createLoadShedder(options: LoadShedderOptions): LoadShedder {
  return new CallerLoadShedder(options);
}

class CallerLoadShedder implements LoadShedder, SlotPool {
  readonly callers = new Callers<CallSlot>();
  readonly options: LoadShedderOptions;
  readonly nowMs: () => number;
  readonly #reserved: number;
  readonly #warnRejected: CountedWarning;
  readonly #unsent = new Set<CallSlot>();
  concurrent = 0;
  running = 0;
  receivedBytes = 0;
  #unsentBytes = 0;

  constructor(options: LoadShedderOptions) {
    this.options = options;
    this.nowMs = options.nowMs ?? (() => performance.now());
    this.#reserved = Math.floor(options.maxCalls * RESERVED_PART);
    const message = `${options.name} rejected at the concurrency limit`;
    this.#warnRejected = createCountedWarning(options.log, message, "rejected", this.nowMs);
  }

  acquire(request: SlotRequest, caller: string): Slot | undefined {
    return this.canReserve(caller) ? new CallSlot(this, request, caller) : undefined;
  }

  canReserve(key: string): boolean {
    const caller = this.callers.find(key);
    if (!this.canRun(caller)) return false;
    return this.concurrent < this.options.maxCalls || this.#takeSlot(caller) || this.#reject();
  }

  canRun(caller: Caller<CallSlot> | undefined): boolean {
    return !this.#exceedsShare(caller) || this.#reject();
  }

  addUnsent(slot: CallSlot): void {
    this.#unsent.add(slot);
    this.#unsentBytes += slot.unsentBytes;
    for (const oldest of this.#unsent) {
      if (this.#unsentBytes <= this.options.maxUnsentBytes || oldest === slot) return;
      oldest.release();
      oldest.abort();
    }
  }

  removeUnsent(slot: CallSlot): void {
    this.#unsent.delete(slot);
    this.#unsentBytes -= slot.unsentBytes;
  }

  /** Returns whether only the reserved slots are left, and the caller has a fair share of all. */
  #exceedsShare(caller: Caller<CallSlot> | undefined): boolean {
    const { maxCalls } = this.options;
    if (maxCalls - this.running > this.#reserved) return false;
    const share = Math.max(1, Math.floor(maxCalls / (this.callers.running + 1)));
    return (caller?.running ?? 0) >= share;
  }

  /** Takes the slot of an incomplete request for a caller. */
  #takeSlot(caller: Caller<CallSlot> | undefined): boolean {
    for (;;) {
      const slot = this.#findIncomplete(caller);
      if (slot === undefined) return false;
      if (!slot.request.complete || this.#exceedsShare(slot.caller)) {
        slot.stall();
        return true;
      }
      // It has arrived and will be read next, or it is a stream that responds.
      slot.startRunning();
    }
  }

  #findIncomplete(caller: Caller<CallSlot> | undefined): CallSlot | undefined {
    const largest = this.callers.largestReceiver();
    const own = oldestOf(caller);
    const oldest = oldestOf(largest);
    if (largest !== undefined && largest.receiving.size > (caller?.receiving.size ?? 0)) return oldest;
    const latestMs = this.nowMs() - this.options.slotBodyMs;
    return [own, oldest].find((slot) => slot !== undefined && slot.sinceMs <= latestMs);
  }

  #reject(): false {
    this.#warnRejected({ calls: this.concurrent });
    return false;
  }
}

function oldestOf(caller: Caller<CallSlot> | undefined): CallSlot | undefined {
  const [oldest] = caller?.receiving ?? [];
  return oldest;
}
