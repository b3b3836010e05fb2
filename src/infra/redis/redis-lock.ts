import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import { CircuitBreaker } from "../../kernel/async/circuit-breaker.ts";
import type { Log } from "../../kernel/log.ts";

/** Names that are locked. */
export interface LockLease {
  /** The fencing token: higher than that of every earlier lease of these names. */
  readonly token: bigint;
  /** Unlocks the names unless the lease has ended. Does not wait for the response. */
  release(): void;
}

/** A condition of a new lease. */
export interface AcquireOptions {
  /** Ends the wait when aborted. */
  signal: AbortSignal;
  /** The token is higher than this one. It raises the counter of a Redis that has lost its data. */
  minToken?: bigint;
}

export interface RedisLockOptions {
  redis: Pick<Redis, "eval">;
  /** Separates databases that use the same Redis. */
  namespace: string;
  /** Separates locks with the same namespace, such as "stock-lock". */
  name: string;
  /** Time after which a lease ends by itself, in milliseconds. */
  leaseMs: number;
  /** Longest time that `acquire` waits, in milliseconds. */
  waitMs: number;
  log: Log;
}

/** Bounds of the random delay between two attempts, in milliseconds. */
const [MIN_DELAY_MS, MAX_DELAY_MS] = [1, 4];

/**
 * Locks all names or none. KEYS: the counter of tokens, then the names. ARGV: the minimum token, the lease in
 * milliseconds. Returns the token; 0 if a name is locked.
 */
const ACQUIRE = `
if redis.call('EXISTS', unpack(KEYS, 2)) > 0 then return 0 end
local token = redis.call('INCR', KEYS[1])
if token <= tonumber(ARGV[1]) then
  token = tonumber(ARGV[1]) + 1
  redis.call('SET', KEYS[1], token)
end
for index = 2, #KEYS do redis.call('SET', KEYS[index], token, 'NX', 'PX', ARGV[2]) end
return token`;
/** Unlocks the names that a token has locked. KEYS: the names. ARGV: the token. */
const RELEASE = `
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end`;

/**
 * A lock in Redis that processes share. It saves waiting elsewhere and guarantees nothing: a lease may end while its
 * holder works, and Redis may lose it. What a holder writes must be checked against its token.
 */
export class RedisLock {
  readonly #options: RedisLockOptions;
  readonly #prefix: string;
  readonly #breaker: CircuitBreaker;

  constructor(options: RedisLockOptions) {
    const { namespace, name, log } = options;
    this.#options = options;
    // In a cluster, the part in braces selects the slot. All keys share one, since scripts take several keys.
    this.#prefix = `cartwright:{${namespace}}:${name}`;
    this.#breaker = new CircuitBreaker({
      log,
      messages: { opened: "Redis lock failed; continuing without it", closed: "Redis lock in use again" },
    });
  }

  /**
   * Locks all names together, so that holders of some never wait for others.
   * @returns undefined when a name stays locked for the whole wait, or Redis is unavailable
   */
  async acquire(
    names: readonly string[],
    { signal, minToken = 0n }: AcquireOptions,
  ): Promise<LockLease | undefined> {
    const { redis, leaseMs, waitMs } = this.#options;
    const keys = names.map((name) => `${this.#prefix}:${name}`);
    const endMs = performance.now() + waitMs;
    for (;;) {
      if (signal.aborted || !this.#breaker.allowsRequest(performance.now())) return undefined;
      let token: unknown;
      try {
        const counter = `${this.#prefix}-token`;
        token = await redis.eval(ACQUIRE, keys.length + 1, counter, ...keys, minToken.toString(), leaseMs);
      } catch (error) {
        // The command may have been executed: then the names are locked until the lease ends.
        this.#breaker.recordFailure(error, performance.now());
        return undefined;
      }
      this.#breaker.recordSuccess();
      if (typeof token === "number" && token > 0) return this.#leaseOf(BigInt(token), keys);
      const delayMs = MIN_DELAY_MS + Math.random() * (MAX_DELAY_MS - MIN_DELAY_MS);
      if (performance.now() + delayMs > endMs) return undefined;
      await sleep(delayMs);
    }
  }

  #leaseOf(token: bigint, keys: readonly string[]): LockLease {
    return {
      token,
      release: () => {
        const released = this.#options.redis.eval(RELEASE, keys.length, ...keys, token.toString());
        released.catch((error: unknown) => this.#breaker.recordFailure(error, performance.now()));
      },
    };
  }
}
