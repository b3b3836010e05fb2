import type { Redis } from "ioredis";
import { RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import { allow, type Budget, type Decision, deny } from "./budget.ts";
import { SharedTimeout } from "./shared-timeout.ts";
import { slidingWindowScript } from "./sliding-window-script.ts";

/** How long Redis may take, milliseconds. */
const ANSWER_MS = 50;

/** A call that came while Redis was being asked about the same key. */
interface Waiting {
  readonly cost: number;
  resolve(verdict: Decision): void;
  reject(error: unknown): void;
}

/**
 * The sliding window that processes share, in Redis. Calls that come together are asked about together: those of
 * one key with the sum of what they cost, those of others in one pipeline.
 */
export class SharedWindow {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #limiters = new Map<string, RateLimiterRedis>();
  /** By key, of those that Redis is being asked about. */
  readonly #lines = new Map<string, Waiting[]>();
  readonly #patience = new SharedTimeout(ANSWER_MS);
  #lostAtMs = Number.NEGATIVE_INFINITY;

  /** @param redis whose server is asked, over a connection of its own */
  constructor(redis: Redis, namespace: string) {
    // The script has its name on this client alone.
    this.#redis = redis.duplicate({ enableAutoPipelining: true, commandTimeout: undefined });
    // The client that was duplicated tells of errors.
    this.#redis.on("error", () => {});
    this.#redis.on("close", () => {
      this.#lostAtMs = performance.now();
    });
    this.#prefix = `cartwright:{${namespace}}:limit`;
  }

  get isConnected(): boolean {
    return this.#redis.status === "ready";
  }

  /** When the connection was last lost, by `performance.now()`: a server that comes back may know nothing any more. */
  get lostAtMs(): number {
    return this.#lostAtMs;
  }

  /**
   * Rejects when Redis is away or takes longer than ANSWER_MS; a call that comes while Redis is asked about its key waits
   * for that answer first.
   */
  spend(budget: Budget, key: string, cost: number): Promise<Decision> {
    const name = `${budget.name}:${key}`;
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { cost, resolve, reject };
      const line = this.#lines.get(name);
      if (line !== undefined) {
        line.push(waiting);
        return;
      }
      const first = [waiting];
      this.#lines.set(name, first);
      // What other connections have brought meanwhile is asked about with it: a question costs more than a call.
      setImmediate(() => {
        this.#lines.set(name, []);
        void this.#decide(budget, key, name, first);
      });
    });
  }

  close(): void {
    this.#redis.disconnect();
  }

  async #decide(budget: Budget, key: string, name: string, calls: readonly Waiting[]): Promise<void> {
    try {
      await this.#ask(budget, key, calls);
    } catch (error) {
      // Those who came meanwhile need not wait to see the same.
      const line = this.#lines.get(name) ?? [];
      this.#lines.delete(name);
      for (const { reject } of [...calls, ...line]) reject(error);
      return;
    }
    const line = this.#lines.get(name);
    if (line === undefined || line.length === 0) {
      this.#lines.delete(name);
      return;
    }
    this.#lines.set(name, []);
    void this.#decide(budget, key, name, line);
  }

  /** Asks for all at once and, where that is too much, for each. */
  async #ask(budget: Budget, key: string, calls: readonly Waiting[]): Promise<void> {
    const cost = calls.reduce((sum, call) => sum + call.cost, 0);
    const verdict = await this.#consume(budget, key, cost);
    if (verdict.allowed) {
      let remaining = verdict.remaining + cost;
      for (const call of calls) {
        remaining -= call.cost;
        call.resolve({ ...verdict, remaining });
      }
      return;
    }
    const [only, ...others] = calls;
    if (only !== undefined && others.length === 0) only.resolve(verdict);
    else
      await Promise.all(calls.map(async (call) => call.resolve(await this.#consume(budget, key, call.cost))));
  }

  async #consume(budget: Budget, key: string, cost: number): Promise<Decision> {
    try {
      const consumed = await this.#patience.await(this.#limiterOf(budget).consume(key, cost));
      return allow(budget, consumed.consumedPoints, consumed.msBeforeNext);
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw error;
      return deny(budget, error.consumedPoints - cost, error.msBeforeNext);
    }
  }

  #limiterOf({ name, units, windowMs }: Budget): RateLimiterRedis {
    const known = this.#limiters.get(name);
    if (known !== undefined) return known;
    const duration = windowMs / 1_000;
    const limiter = new RateLimiterRedis({
      storeClient: this.#redis,
      customIncrTtlLuaScript: slidingWindowScript,
      // Grains of one length mean nothing among those of another.
      keyPrefix: `${this.#prefix}:${name}:${duration}s`,
      points: units,
      duration,
    });
    this.#limiters.set(name, limiter);
    return limiter;
  }
}
