import type { Redis } from "ioredis";
import { RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import { allow, type Budget, type Decision, deny } from "./budget.ts";
import { SharedTimeout } from "./shared-timeout.ts";
import { slidingWindowScript } from "./sliding-window-script.ts";

interface PendingCall {
  readonly cost: number;
  resolve(decision: Decision): void;
  reject(error: unknown): void;
}

/**
 * The sliding window in Redis that processes share. Concurrent calls are batched: those of one key into one request
 * with the sum of their costs, requests of different keys into one pipeline.
 */
export class SharedWindow {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #limiters = new Map<string, RateLimiterRedis>();
  /** The calls that wait for the response to the request of their key, by key. */
  readonly #queues = new Map<string, PendingCall[]>();
  readonly #timeout: SharedTimeout;
  #disconnectedAtMs = Number.NEGATIVE_INFINITY;

  /** @param redis a client of the server, which is duplicated */
  constructor(
    redis: Redis,
    namespace: string,
    { timeoutMs, nowMs }: { timeoutMs: number; nowMs: () => number },
  ) {
    this.#timeout = new SharedTimeout(timeoutMs);
    // rate-limiter-flexible defines its script on the client, which must be used for no other script.
    this.#redis = redis.duplicate({ enableAutoPipelining: true, commandTimeout: undefined });
    // The client that was duplicated logs errors.
    this.#redis.on("error", () => {});
    this.#redis.on("close", () => {
      this.#disconnectedAtMs = nowMs();
    });
    this.#prefix = `cartwright:{${namespace}}:limit`;
  }

  get isConnected(): boolean {
    return this.#redis.status === "ready";
  }

  /** The time at which the connection was last lost. The server may have lost its keys since. */
  get disconnectedAtMs(): number {
    return this.#disconnectedAtMs;
  }

  /**
   * Spends `cost` units if so many are left. Waits for the response to an earlier request of the key first.
   * Rejects if Redis is unavailable or slower than the timeout.
   */
  spend(budget: Budget, key: string, cost: number): Promise<Decision> {
    const name = `${budget.name}:${key}`;
    return new Promise((resolve, reject) => {
      const call: PendingCall = { cost, resolve, reject };
      const queue = this.#queues.get(name);
      if (queue !== undefined) {
        queue.push(call);
        return;
      }
      const batch = [call];
      this.#queues.set(name, batch);
      // Calls that other connections deliver in this turn join the batch: a request costs more than a call.
      setImmediate(() => {
        this.#queues.set(name, []);
        void this.#decide(budget, key, name, batch);
      });
    });
  }

  close(): void {
    this.#redis.disconnect();
  }

  async #decide(budget: Budget, key: string, name: string, batch: readonly PendingCall[]): Promise<void> {
    try {
      await this.#request(budget, key, batch);
    } catch (error) {
      // Calls that were queued meanwhile fail immediately instead of waiting for the next timeout.
      const queue = this.#queues.get(name) ?? [];
      this.#queues.delete(name);
      for (const { reject } of [...batch, ...queue]) reject(error);
      return;
    }
    const queue = this.#queues.get(name);
    if (queue === undefined || queue.length === 0) {
      this.#queues.delete(name);
      return;
    }
    this.#queues.set(name, []);
    void this.#decide(budget, key, name, queue);
  }

  /** Spends the sum of the costs or, if that is too much, each cost by itself. */
  async #request(budget: Budget, key: string, batch: readonly PendingCall[]): Promise<void> {
    const cost = batch.reduce((sum, call) => sum + call.cost, 0);
    const decision = await this.#consume(budget, key, cost);
    if (decision.allowed) {
      let remaining = decision.remaining + cost;
      for (const call of batch) {
        remaining -= call.cost;
        call.resolve({ ...decision, remaining });
      }
      return;
    }
    const [only, ...others] = batch;
    if (only !== undefined && others.length === 0) {
      only.resolve(decision);
      return;
    }
    await Promise.all(batch.map(async (call) => call.resolve(await this.#consume(budget, key, call.cost))));
  }

  async #consume(budget: Budget, key: string, cost: number): Promise<Decision> {
    try {
      const result = await this.#timeout.apply(this.#limiterOf(budget).consume(key, cost));
      return allow(budget, result.consumedPoints, result.msBeforeNext);
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw error;
      return deny(budget, error.consumedPoints - cost, error.msBeforeNext);
    }
  }

  #limiterOf({ name, units, windowMs }: Budget): RateLimiterRedis {
    const existing = this.#limiters.get(name);
    if (existing !== undefined) return existing;
    const duration = windowMs / 1_000;
    const limiter = new RateLimiterRedis({
      storeClient: this.#redis,
      customIncrTtlLuaScript: slidingWindowScript,
      // Windows of different length have buckets of different length, and must not share keys.
      keyPrefix: `${this.#prefix}:${name}:${duration}s`,
      points: units,
      duration,
    });
    this.#limiters.set(name, limiter);
    return limiter;
  }
}
