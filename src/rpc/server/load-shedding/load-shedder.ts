import type { Log } from "../../../kernel/log.ts";

/** The part of a request that load shedding reads. */
export interface SlotRequest {
  /** Whether all of the request has arrived. */
  readonly complete: boolean;
}

/** Bounds the concurrent calls, and the responses that callers do not receive. */
export interface LoadShedder {
  /**
   * Acquires a slot for a call.
   * @returns false when there is none
   */
  acquire(request: SlotRequest): boolean;
  /** Marks that the body of a call is awaited. */
  startReceiving(request: SlotRequest): void;
  /**
   * Marks that the request has arrived.
   * @returns false when it lost its slot meanwhile, and no other is free
   */
  finishReceiving(request: SlotRequest): boolean;
  /**
   * Frees the slot of a call whose response is complete, and counts the response until it is sent.
   * @param abort ends the exchange without waiting for the caller any longer
   */
  startSending(request: SlotRequest, bytes: number, abort: () => void): void;
  /** Releases the slot of a call whose exchange is over. */
  release(request: SlotRequest): void;
}

/** Dependencies of the load shedder. */
export interface LoadShedderOptions {
  /** The most concurrent calls. Calls beyond it are rejected. */
  maxCalls: number;
  /** The most bytes of unsent responses. Beyond it the oldest are aborted. */
  maxUnsentBytes: number;
  /** Time for which an incomplete request keeps its slot while others are rejected, in milliseconds. */
  slotBodyMs: number;
  log: Log;
  /** Milliseconds of a monotonic clock. */
  nowMs?: () => number;
}

/** The shortest interval of log lines about rejected calls, in milliseconds. */
const LOG_INTERVAL_MS = 1_000;
/** The shortest interval at which stalled requests are searched, in milliseconds. */
const SEARCH_INTERVAL_MS = 100;

/** The state of a call. Receiving and running calls hold a slot; stalled and sending ones do not. */
type CallState =
  | { state: "receiving"; sinceMs: number }
  | { state: "running" }
  | { state: "stalled" }
  | { state: "sending"; bytes: number; abort: () => void };

/**
 * Creates the load shedder: it rejects calls that would have to wait for others. Incomplete requests cause no work and
 * must not block others: after `slotBodyMs` they lose their slots until they are complete. A caller who does not
 * receive responses holds no slot either.
 */
export function createLoadShedder(options: LoadShedderOptions): LoadShedder {
  const { maxCalls, maxUnsentBytes, slotBodyMs, log, nowMs = () => performance.now() } = options;
  /** In the order in which they entered their states. */
  const calls = new Map<SlotRequest, CallState>();
  const unsent = new Map<SlotRequest, CallState & { state: "sending" }>();
  let concurrent = 0;
  let unsentBytes = 0;
  let rejected = 0;
  let nextLogAtMs = 0;
  let nextSearchAtMs = 0;
  const reject = (now: number): false => {
    rejected += 1;
    if (now >= nextLogAtMs) {
      nextLogAtMs = now + LOG_INTERVAL_MS;
      log.warn({ calls: concurrent, rejected }, "Calls rejected at the concurrency limit");
      rejected = 0;
    }
    return false;
  };
  const freeStalledSlots = (now: number) => {
    nextSearchAtMs = now + SEARCH_INTERVAL_MS;
    for (const [request, call] of calls) {
      if (call.state !== "receiving") continue;
      if (call.sinceMs > now - slotBodyMs) return;
      if (request.complete) calls.set(request, { state: "running" });
      else {
        calls.set(request, { state: "stalled" });
        concurrent -= 1;
      }
    }
  };
  const tryReserveSlot = (): boolean => {
    const now = nowMs();
    if (concurrent >= maxCalls && now >= nextSearchAtMs) freeStalledSlots(now);
    if (concurrent >= maxCalls) return reject(now);
    concurrent += 1;
    return true;
  };
  const release = (request: SlotRequest): void => {
    const call = calls.get(request);
    if (call === undefined) return;
    calls.delete(request);
    if (call.state === "receiving" || call.state === "running") concurrent -= 1;
    if (call.state !== "sending") return;
    unsent.delete(request);
    unsentBytes -= call.bytes;
  };
  return {
    acquire(request) {
      if (!tryReserveSlot()) return false;
      calls.set(request, { state: "running" });
      return true;
    },
    startReceiving(request) {
      if (calls.get(request)?.state !== "running") return;
      // Deleted first, so that the map stays in the order of `sinceMs`.
      calls.delete(request);
      calls.set(request, { state: "receiving", sinceMs: nowMs() });
    },
    finishReceiving(request) {
      const call = calls.get(request);
      if (call === undefined) return true;
      if (call.state === "stalled" && !tryReserveSlot()) return false;
      calls.set(request, { state: "running" });
      return true;
    },
    startSending(request, bytes, abort) {
      const call = calls.get(request);
      if (call === undefined || call.state === "sending") return;
      if (call.state !== "stalled") concurrent -= 1;
      const sending = { state: "sending", bytes, abort } as const;
      calls.set(request, sending);
      unsent.set(request, sending);
      unsentBytes += bytes;
      for (const [oldest, { abort }] of unsent) {
        if (unsentBytes <= maxUnsentBytes || oldest === request) return;
        release(oldest);
        abort();
      }
    },
    release,
  };
}
