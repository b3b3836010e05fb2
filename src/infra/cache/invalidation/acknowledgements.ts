import type { CacheClock } from "../cache-clock.ts";
import type { InvalidationReply } from "../redis-tier.ts";
import { LEASE_MS } from "./lease-monitor.ts";
import { ELSEWHERE, type LiveReplicas, MISSED } from "./live-replicas.ts";

/** An invalidation that is being published, or that other replicas have not acknowledged yet. */
interface Pending {
  /** The leases that it waits for, by replica. Undefined until this process has received its own message. */
  leaseEnds?: Map<string, number>;
  /** Whether the server has rejected it. Then it cannot reach replicas at another server anyway. */
  isRejected?: boolean;
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
  /** By sequence, in ascending order, which is the order in which Redis publishes them. */
  readonly #pending = new Map<number, Pending>();
  #lastSequence = 0;

  constructor(replicas: LiveReplicas, clock: CacheClock) {
    this.#replicas = replicas;
    this.#clock = clock;
  }

  /**
   * Registers an invalidation. The caller sends its message before it gives up control: otherwise Redis could publish
   * a later one first, whose acknowledgement would cover this one too.
   * @returns its sequence
   */
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
   * Waits for the other replicas, LEASE_MS at most. To be called when Redis has replied. If not all replicas send
   * heartbeats and acknowledgements, it waits for the time only.
   */
  wait(sequence: number, { error, isComplete }: InvalidationReply): Promise<void> {
    return new Promise((resolve) => {
      const pending = this.#pending.get(sequence);
      if (pending === undefined) return resolve();
      pending.endMs = this.#clock.monotonicMs() + LEASE_MS;
      pending.resolve = resolve;
      pending.isRejected = error !== undefined;
      if (!isComplete) pending.leaseEnds = new Map([[MISSED, pending.endMs]]);
      this.#update(sequence, pending);
    });
  }

  /** Handles the own message of an invalidation. */
  receiveOwn(sequence: number): void {
    const pending = this.#pending.get(sequence);
    if (pending === undefined) return;
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
    const { endMs, leaseEnds, isRejected } = pending;
    if (endMs === undefined) return;
    if (isRejected) leaseEnds?.delete(ELSEWHERE);
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
