import type { CacheClock } from "../cache-clock.ts";
import { LEASE_MS } from "./lease-monitor.ts";
import type { LiveReplicas } from "./live-replicas.ts";

/** An invalidation that is being published, or that other replicas have not acknowledged yet. */
interface Pending {
  /** The leases that it waits for, by replica. Undefined until this process has received its own message. */
  leaseEnds?: Map<string, number>;
  /** The time after which no lease from before it is valid. Undefined until Redis has replied. */
  endMs?: number;
  resolve?: () => void;
  cancelTimer?: () => void;
}

/**
 * Waits until no other replica uses entries that an invalidation has made stale: each one has acknowledged it, or its
 * lease has ended. Redis delivers messages to all replicas in one order. When this process receives its own
 * invalidation, it has received every heartbeat before it; a heartbeat after it reaches its replica after it too.
 */
export class Acknowledgements {
  readonly #replicas: LiveReplicas;
  readonly #clock: CacheClock;
  /** By sequence, in ascending order. */
  readonly #pending = new Map<number, Pending>();
  #lastSequence = 0;

  constructor(replicas: LiveReplicas, clock: CacheClock) {
    this.#replicas = replicas;
    this.#clock = clock;
  }

  /** Registers an invalidation before it is published. @returns its sequence */
  register(): number {
    this.#lastSequence += 1;
    this.#pending.set(this.#lastSequence, {});
    return this.#lastSequence;
  }

  /** Removes an invalidation that was not published. */
  remove(sequence: number): void {
    this.#pending.delete(sequence);
  }

  /**
   * Waits for the other replicas, LEASE_MS at most. To be called when Redis has replied.
   * @param isComplete whether all replicas send heartbeats and acknowledgements
   */
  wait(sequence: number, isComplete: boolean): Promise<void> {
    return new Promise((resolve) => {
      const pending = this.#pending.get(sequence);
      if (pending === undefined) return resolve();
      pending.endMs = this.#clock.monotonicMs() + LEASE_MS;
      pending.resolve = resolve;
      if (!isComplete) pending.leaseEnds = new Map([["", pending.endMs]]);
      this.#update(sequence, pending);
    });
  }

  /** Handles the own message of an invalidation. */
  receiveOwn(sequence: number): void {
    const pending = this.#pending.get(sequence);
    if (pending === undefined) return;
    // Without heartbeats and acknowledgements of all replicas it waits for the time only.
    pending.leaseEnds ??= this.#replicas.leaseEnds();
    this.#update(sequence, pending);
  }

  /** Handles the acknowledgement of all invalidations up to this sequence. */
  receive(replicaId: string, sequence: number): void {
    for (const [own, pending] of this.#pending) {
      if (own > sequence) break;
      if (pending.leaseEnds?.delete(replicaId) === true) this.#update(own, pending);
    }
  }

  /** Ends all waits. */
  close(): void {
    for (const [sequence, pending] of this.#pending) this.#settle(sequence, pending);
  }

  #update(sequence: number, pending: Pending): void {
    const { endMs, leaseEnds } = pending;
    if (endMs === undefined) return;
    const untilMs = leaseEnds === undefined ? endMs : Math.min(endMs, Math.max(...leaseEnds.values()));
    const waitMs = untilMs - this.#clock.monotonicMs();
    pending.cancelTimer?.();
    if (waitMs < 0) this.#settle(sequence, pending);
    else pending.cancelTimer = this.#clock.schedule(waitMs, () => this.#update(sequence, pending));
  }

  #settle(sequence: number, { cancelTimer, resolve }: Pending): void {
    this.#pending.delete(sequence);
    cancelTimer?.();
    resolve?.();
  }
}
