import type { CacheClock } from "../cache-clock.ts";
import type { ThrottledTag } from "./messages.ts";

/**
 * Minimum interval between two throttled invalidations of a tag by one process, in milliseconds. It is also the maximum
 * age of an entry that may lack changes whose invalidation is throttled.
 */
export const THROTTLE_MS = 1_000;
/** Minimum interval in which delayed invalidations are looked for, in milliseconds, so that many tags share a message. */
const SWEEP_MS = 20;
/** Maximum number of tags that are remembered for an interval, of about 200 bytes each. Others are not delayed. */
const MAX_TAGS = 50_000;

/** A tag that was invalidated within the last interval. */
interface SentTag {
  readonly tag: string;
  readonly sentAtMs: number;
  /** The version to invalidate at the end of the interval; undefined if the tag has not changed since. */
  pending: bigint | undefined;
}

export interface ThrottleOptions {
  clock: CacheClock;
  /** Sends an invalidation, together with the others of this turn of the event loop. */
  send(change: ThrottledTag): void;
}

/**
 * Throttles the invalidations of each tag: the first is sent immediately, further ones once in an interval, and the
 * last one always.
 */
export class InvalidationThrottle {
  readonly #clock: CacheClock;
  readonly #send: (change: ThrottledTag) => void;
  readonly #sent = new Map<string, SentTag>();
  /** The same and replaced ones, in the order in which they were sent. A map would be slow to iterate from its start. */
  #queue: SentTag[] = [];
  /** Index of the oldest one in the queue. */
  #head = 0;
  #pendingCount = 0;
  #sweptAtMs = Number.NEGATIVE_INFINITY;
  #cancelSweep: (() => void) | undefined;

  constructor({ clock, send }: ThrottleOptions) {
    this.#clock = clock;
    this.#send = send;
  }

  /** Number of tags whose last change has not been sent. */
  get pendingCount(): number {
    return this.#pendingCount;
  }

  /** Number of tags that are remembered. */
  get size(): number {
    return this.#sent.size;
  }

  /** Sends the invalidation of a change now, or at the end of the interval since the last one of its tag. */
  add({ tag, version }: ThrottledTag): void {
    const nowMs = this.#clock.monotonicMs();
    const sent = this.#sent.get(tag);
    if (sent === undefined || nowMs - sent.sentAtMs >= THROTTLE_MS) {
      this.#sendAt(nowMs, tag, version);
      return;
    }
    if (sent.pending === undefined) this.#pendingCount += 1;
    if (sent.pending === undefined || version > sent.pending) sent.pending = version;
    this.#scheduleSweep();
  }

  /** Sends the invalidation of a change without a delay. */
  sendNow({ tag, version }: ThrottledTag): void {
    const pending = this.#sent.get(tag)?.pending ?? version;
    this.#sendAt(this.#clock.monotonicMs(), tag, pending > version ? pending : version);
  }

  /** Sends all delayed invalidations now. */
  flush(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [tag, { pending }] of [...this.#sent]) {
      if (pending !== undefined) this.#sendAt(nowMs, tag, pending);
    }
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  #sendAt(nowMs: number, tag: string, version: bigint): void {
    this.#forget(tag);
    this.#sweep(nowMs);
    if (this.#sent.size < MAX_TAGS) this.#remember(tag, nowMs);
    this.#send({ tag, version });
  }

  #remember(tag: string, sentAtMs: number): void {
    const sent: SentTag = { tag, sentAtMs, pending: undefined };
    this.#sent.set(tag, sent);
    this.#queue.push(sent);
  }

  #forget(tag: string): void {
    if (this.#sent.get(tag)?.pending !== undefined) this.#pendingCount -= 1;
    this.#sent.delete(tag);
  }

  /** Forgets the tags whose interval has ended, and sends the changes of those that are pending. */
  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    for (let oldest = this.#oldest(); oldest !== undefined; oldest = this.#oldest()) {
      const { tag, sentAtMs, pending } = oldest;
      if (nowMs - sentAtMs < THROTTLE_MS) break;
      this.#forget(tag);
      if (pending === undefined) continue;
      this.#remember(tag, nowMs);
      this.#send({ tag, version: pending });
    }
  }

  /** Returns the tag that was sent first. */
  #oldest(): SentTag | undefined {
    for (; this.#head < this.#queue.length; this.#head += 1) {
      const sent = this.#queue[this.#head];
      if (sent === undefined || this.#sent.get(sent.tag) !== sent) continue;
      if (this.#head > MAX_TAGS) this.#dropHead();
      return sent;
    }
    this.#dropHead();
    return undefined;
  }

  #dropHead(): void {
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
  }

  /** Schedules the next sweep for the end of the oldest interval, which ends no later than that of a pending tag. */
  #scheduleSweep(): void {
    const oldest = this.#oldest();
    if (this.#cancelSweep !== undefined || this.#pendingCount === 0 || oldest === undefined) return;
    const nowMs = this.#clock.monotonicMs();
    // The interval of a tag that is not pending may have ended long ago.
    const dueAtMs = Math.max(nowMs, oldest.sentAtMs + THROTTLE_MS, this.#sweptAtMs + SWEEP_MS);
    this.#cancelSweep = this.#clock.schedule(dueAtMs - nowMs, () => {
      this.#cancelSweep = undefined;
      this.#sweep(this.#clock.monotonicMs());
      this.#scheduleSweep();
    });
  }
}
