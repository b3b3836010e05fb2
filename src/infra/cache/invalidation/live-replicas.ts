import type { CacheClock } from "../cache-clock.ts";
import { LEASE_MS } from "./lease-monitor.ts";

/** The id for all replicas whose heartbeats this process may have missed because it was not subscribed. */
export const MISSED = "";
/** The id for all replicas whose heartbeats another server may have accepted while this one rejected writes. */
export const ELSEWHERE = " ";

/**
 * Records the heartbeats of all replicas, and so which of them may hold a lease. A lease is dated from before its
 * heartbeat was sent: it ends no later than LEASE_MS after any other process received that heartbeat.
 */
export class LiveReplicas {
  readonly #ownId: string;
  readonly #clock: CacheClock;
  /** The time at which the last heartbeat of each replica was received, oldest first. */
  readonly #receivedAtMs = new Map<string, number>();
  #lastReceivedAtMs = Number.NEGATIVE_INFINITY;
  /** The time from which the subscription has received all heartbeats; undefined while there is none. */
  #subscribedSinceMs: number | undefined;
  /** The time from which the server has accepted the own heartbeats; undefined while it rejects them. */
  #acceptedSinceMs: number | undefined;
  #rejectedAtMs = Number.NEGATIVE_INFINITY;

  constructor(ownId: string, clock: CacheClock) {
    this.#ownId = ownId;
    this.#clock = clock;
  }

  /** The time at which the last heartbeat of any replica was received. */
  get lastReceivedAtMs(): number {
    return this.#lastReceivedAtMs;
  }

  /**
   * Records a heartbeat.
   * @param sentAtMs by the clock of that replica
   */
  recordHeartbeat(replicaId: string, sentAtMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    this.#lastReceivedAtMs = nowMs;
    if (replicaId === this.#ownId) {
      if (sentAtMs >= this.#rejectedAtMs) this.#acceptedSinceMs ??= nowMs;
      return;
    }
    // Deleted first, so that the map stays in the order of time.
    this.#receivedAtMs.delete(replicaId);
    this.#receivedAtMs.set(replicaId, nowMs);
    for (const [id, receivedAtMs] of this.#receivedAtMs) {
      if (nowMs - receivedAtMs <= LEASE_MS) break;
      this.#receivedAtMs.delete(id);
    }
  }

  recordSubscribed(): void {
    this.#subscribedSinceMs = this.#clock.monotonicMs();
  }

  /** Records that the subscription is interrupted. The next one may be at another server. */
  recordUnsubscribed(): void {
    this.#subscribedSinceMs = undefined;
    this.recordRejected();
  }

  /** Records that the server rejects heartbeats, as a replica does. Another server may accept them. */
  recordRejected(): void {
    this.#acceptedSinceMs = undefined;
    this.#rejectedAtMs = this.#clock.monotonicMs();
  }

  /** Returns the latest end of the lease of each other replica that may hold one now. */
  leaseEnds(): Map<string, number> {
    const nowMs = this.#clock.monotonicMs();
    const ends = new Map<string, number>();
    for (const [id, receivedAtMs] of this.#receivedAtMs) ends.set(id, receivedAtMs + LEASE_MS);
    ends.set(MISSED, (this.#subscribedSinceMs ?? nowMs) + LEASE_MS);
    ends.set(ELSEWHERE, (this.#acceptedSinceMs ?? nowMs) + LEASE_MS);
    for (const [id, endMs] of ends) if (endMs < nowMs) ends.delete(id);
    return ends;
  }
}
