import { LRUCache } from "lru-cache";
import type { Peer } from "../peer.ts";

/** The limits of the work that an address may cause without receiving a response. */
export interface AddressDebtLimits {
  /** The units that an address may spend in a burst. */
  resetBurst: number;
  /** The units that it regains in a second. */
  resetsPerSecond: number;
  /** The most addresses that are remembered; beyond it those charged longest ago are forgotten. */
  maxIndebtedAddresses: number;
}

/** A token bucket. */
interface Bucket {
  /** Negative: the address is in debt. */
  tokens: number;
  /** When `tokens` was computed, in milliseconds. */
  atMs: number;
}

/** A /48 may spend this many times the units of one of its 65,536 prefixes of /64. */
const SITE_FACTOR = 4;
/** The largest debt, in bursts. It bounds how long an address is refused. */
const MAX_DEBT_BURSTS = 10;

/**
 * Counts by address the work that callers cause and do not wait for, such as streams that they reset. It is counted by
 * address because a caller can open another connection at any time. An address that has spent more than its burst is in
 * debt until it has regained all of it. Getting into debt costs another burst: otherwise an attacker would be admitted
 * again after a few milliseconds, and would cause the work of opening connections instead.
 */
export class AddressDebts {
  readonly #limits: AddressDebtLimits;
  readonly #nowMs: () => number;
  readonly #buckets: LRUCache<string, Bucket>;

  /** @param nowMs milliseconds of a monotonic clock */
  constructor(limits: AddressDebtLimits, nowMs: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#nowMs = nowMs;
    this.#buckets = new LRUCache({ max: limits.maxIndebtedAddresses });
  }

  /** The number of addresses and prefixes that are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /**
   * Charges a peer, unless it is a trusted proxy.
   * @returns whether this charge has put its address into debt
   */
  charge({ holder, site, isTrusted }: Peer, units: number): boolean {
    if (isTrusted) return false;
    const isNewDebt = this.#charge(holder, units, 1);
    return (site !== undefined && this.#charge(site, units, SITE_FACTOR)) || isNewDebt;
  }

  /** Whether the address of a peer is in debt. */
  isInDebt({ holder, site, isTrusted }: Peer): boolean {
    if (isTrusted) return false;
    return this.#tokens(holder, 1) < 0 || (site !== undefined && this.#tokens(site, SITE_FACTOR) < 0);
  }

  #tokens(key: string, factor: number): number {
    const bucket = this.#buckets.get(key);
    const { resetBurst, resetsPerSecond } = this.#limits;
    if (bucket === undefined) return resetBurst * factor;
    const regained = ((this.#nowMs() - bucket.atMs) / 1_000) * resetsPerSecond * factor;
    return Math.min(resetBurst * factor, bucket.tokens + regained);
  }

  #charge(key: string, units: number, factor: number): boolean {
    const burst = this.#limits.resetBurst * factor;
    const before = this.#tokens(key, factor);
    const isNewDebt = before >= 0 && before < units;
    const after = before - units - (isNewDebt ? burst : 0);
    this.#buckets.set(key, { tokens: Math.max(after, -MAX_DEBT_BURSTS * burst), atMs: this.#nowMs() });
    return isNewDebt;
  }
}
