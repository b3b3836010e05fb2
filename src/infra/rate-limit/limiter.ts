import type { Redis } from "ioredis";
import { CircuitBreaker } from "../../kernel/async/circuit-breaker.ts";
import { AppError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { type Budget, type Decision, maxResetMs } from "./budget.ts";
import { DenialCache } from "./denial-cache.ts";
import { LocalWindow } from "./local-window.ts";
import { SharedWindow } from "./shared-window.ts";

export type { Budget, Decision };

/** Enforces budgets together with the other processes that use the same Redis. */
export interface Limiter {
  /**
   * Spends `cost` units, a whole number, of the budget of `key`; nothing if fewer are left.
   * @throws AppError unavailable if Redis is unavailable and the budget fails closed
   */
  spend(budget: Budget, key: string, cost: number): Decision | Promise<Decision>;
  /** Returns the denial that this process has cached, if any. Spends nothing. */
  cachedDenial(budget: Budget, key: string, cost: number): Decision | undefined;
  /** Whether budgets are shared with other processes: Redis is connected, and the last request succeeded. */
  readonly isShared: boolean;
  close(): void;
}

export interface LimiterOptions {
  /** The limiter uses a connection of its own to the same server. */
  redis: Redis;
  /** Separates databases that use the same Redis. */
  namespace: string;
  log: Log;
  /** Time limit for a response of Redis, in milliseconds. Defaults to 50. */
  timeoutMs?: number;
  /** A monotonic clock, in milliseconds. Defaults to the system's clock. */
  nowMs?: () => number;
}

const DEFAULT_TIMEOUT_MS = 50;

/** Creates a limiter. It enforces budgets locally until its connection is open: create it before the first call. */
export function createLimiter(options: LimiterOptions): Limiter {
  return new RedisLimiter(options);
}

class RedisLimiter implements Limiter {
  readonly #nowMs: () => number;
  readonly #shared: SharedWindow;
  readonly #local = new LocalWindow();
  readonly #breaker: CircuitBreaker;
  readonly #denials = new DenialCache();
  /** The last time at which units were spent that Redis has not recorded. */
  #divergedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: LimiterOptions) {
    const {
      redis,
      namespace,
      log,
      timeoutMs = DEFAULT_TIMEOUT_MS,
      nowMs = () => performance.now(),
    } = options;
    this.#nowMs = nowMs;
    this.#shared = new SharedWindow(redis, namespace, { timeoutMs, nowMs });
    this.#breaker = new CircuitBreaker({
      log,
      messages: {
        opened: "Redis failed; enforcing rate limits locally",
        closed: "Redis recovered; sharing rate limits",
      },
    });
  }

  get isShared(): boolean {
    return this.#shared.isConnected && this.#breaker.isClosed;
  }

  spend(budget: Budget, key: string, cost: number): Decision | Promise<Decision> {
    const name = `${budget.name}:${key}`;
    const nowMs = this.#nowMs();
    const denial = this.#denials.find(budget, name, cost, nowMs);
    if (denial !== undefined) return denial;
    if (!this.#shared.isConnected || !this.#breaker.allowsRequest(nowMs)) {
      return this.#spendLocally(budget, name, cost, nowMs);
    }
    if (this.#hasDiverged(budget, nowMs)) return this.#spendInBoth(budget, key, name, cost, nowMs);
    return this.#spendShared(budget, key, name, cost);
  }

  cachedDenial(budget: Budget, key: string, cost: number): Decision | undefined {
    return this.#denials.find(budget, `${budget.name}:${key}`, cost, this.#nowMs());
  }

  close(): void {
    this.#shared.close();
  }

  /** Returns whether Redis may lack units that this process has counted, after a failure or a lost connection. */
  #hasDiverged(budget: Budget, nowMs: number): boolean {
    return nowMs < Math.max(this.#divergedAtMs, this.#shared.disconnectedAtMs) + maxResetMs(budget);
  }

  #spendLocally(budget: Budget, name: string, cost: number, nowMs: number): Decision {
    if (budget.failClosed) throw limitsUnavailable(this.#breaker.retryAfterMs(nowMs));
    this.#divergedAtMs = nowMs;
    const decision = this.#local.spend(budget, name, cost, nowMs);
    this.#denials.add(budget, name, cost, decision, nowMs);
    return decision;
  }

  async #spendShared(budget: Budget, key: string, name: string, cost: number): Promise<Decision> {
    try {
      const decision = await this.#spendInRedis(budget, key, name, cost);
      if (decision.allowed) this.#local.count(budget, name, cost, this.#nowMs());
      return decision;
    } catch (error) {
      this.#breaker.recordFailure(error, this.#nowMs());
      return this.#spendLocally(budget, name, cost, this.#nowMs());
    }
  }

  /** Requires that both the local window and Redis allow the call, for as long as they may differ. */
  async #spendInBoth(
    budget: Budget,
    key: string,
    name: string,
    cost: number,
    nowMs: number,
  ): Promise<Decision> {
    const local = this.#local.spend(budget, name, cost, nowMs);
    if (!local.allowed) {
      this.#denials.add(budget, name, cost, local, nowMs);
      return local;
    }
    try {
      const decision = await this.#spendInRedis(budget, key, name, cost);
      if (decision.allowed) return { ...decision, remaining: Math.min(local.remaining, decision.remaining) };
      this.#local.refund(budget, name, cost, nowMs, this.#nowMs());
      return decision;
    } catch (error) {
      this.#breaker.recordFailure(error, this.#nowMs());
      if (budget.failClosed) throw limitsUnavailable(this.#breaker.retryAfterMs(this.#nowMs()));
      this.#divergedAtMs = this.#nowMs();
      return local;
    }
  }

  async #spendInRedis(budget: Budget, key: string, name: string, cost: number): Promise<Decision> {
    const decision = await this.#shared.spend(budget, key, cost);
    this.#breaker.recordSuccess();
    this.#denials.add(budget, name, cost, decision, this.#nowMs());
    return decision;
  }
}

function limitsUnavailable(retryAfterMs: number): AppError {
  return new AppError(
    "unavailable",
    "Service temporarily unavailable: rate limiting needs Redis. Retry in 1 s.",
    { reason: "LIMITS_AWAY", retryAfterMs },
  );
}
