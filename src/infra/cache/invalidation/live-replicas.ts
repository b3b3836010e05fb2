import type { CacheClock } from "../cache-clock.ts";
import { LEASE_MS } from "./lease-monitor.ts";

/** The id for all replicas whose heartbeats this process may have missed. */
const UNKNOWN = "";

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
  /** The time from which no heartbeat was missed; undefined while some may be. */
  #completeSinceMs: number | undefined;
  #forgottenAtMs = Number.NEGATIVE_INFINITY;

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
      if (sentAtMs >= this.#forgottenAtMs) this.#completeSinceMs ??= nowMs;
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

  /**
   * Records that heartbeats may be missed: the subscription is interrupted, or Redis rejects writes and another server
   * may accept them. They are received again from the next own heartbeat on.
   */
  markIncomplete(): void {
    this.#completeSinceMs = undefined;
    this.#forgottenAtMs = this.#clock.monotonicMs();
  }

  /** Returns the latest end of the lease of each other replica that may hold one now. */
  leaseEnds(): Map<string, number> {
    const nowMs = this.#clock.monotonicMs();
    const ends = new Map<string, number>();
    for (const [id, receivedAtMs] of this.#receivedAtMs) ends.set(id, receivedAtMs + LEASE_MS);
    ends.set(UNKNOWN, (this.#completeSinceMs ?? nowMs) + LEASE_MS);
    for (const [id, endMs] of ends) if (endMs < nowMs) ends.delete(id);
    return ends;
  }
}
