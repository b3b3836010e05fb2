import type { Redis } from "ioredis";
import { LRUCache } from "lru-cache";
import { AppError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { type Budget, type Decision, deny, resetAfterMs } from "./budget.ts";
import { CircuitBreaker } from "./circuit-breaker.ts";
import { LocalWindow } from "./local-window.ts";
import { SharedWindow } from "./shared-window.ts";

export type { Budget, Decision };

/** Keeps the budgets of callers, together with the other processes on the same Redis. */
export interface Limiter {
  /**
   * Takes `cost` units, a whole number, from what `key` has of a budget; nothing when that is too little.
   * @throws AppError unavailable while Redis is away, for budgets that fail closed
   */
  spend(budget: Budget, key: string, cost: number): Decision | Promise<Decision>;
  /** What this process knows without asking: the refusal of who is over, undefined for all others. Takes nothing. */
  cachedDenial(budget: Budget, key: string, cost: number): Decision | undefined;
  /** Whether other processes are told what is spent, as far as is known. */
  readonly isShared: boolean;
  close(): void;
}

export interface LimiterOptions {
  /** The limiter talks to its server over a connection of its own. */
  redis: Redis;
  /** Keeps shops apart that use one Redis. */
  namespace: string;
  log: Log;
}

/** Callers who are known to have too little. Whoever is forgotten is asked about again. */
const MAX_BLOCKS = 20_000;

/** What is known of a caller who was refused. */
interface Block {
  /** Until when, in milliseconds of `performance.now()`, there is no room for this cost and more. */
  untilMs: number;
  cost: number;
  spent: number;
}

/** Opens a limiter. It counts by itself until its connection stands: open it some time before the first call. */
export function createLimiter({ redis, namespace, log }: LimiterOptions): Limiter {
  const shared = new SharedWindow(redis, namespace);
  const local = new LocalWindow();
  const breaker = new CircuitBreaker(log);
  const blocks = new LRUCache<string, Block>({ max: MAX_BLOCKS });

  const blockedVerdict = (
    budget: Budget,
    name: string,
    cost: number,
    nowMs: number,
  ): Decision | undefined => {
    const block = blocks.get(name);
    if (block === undefined || cost < block.cost) return undefined;
    if (nowMs < block.untilMs) return deny(budget, block.spent, Math.ceil(block.untilMs - nowMs));
    blocks.delete(name);
    return undefined;
  };
  const block = (budget: Budget, name: string, cost: number, verdict: Decision, nowMs: number): void => {
    const untilMs = nowMs + (verdict.retryAfterMs ?? 0);
    blocks.set(name, { untilMs, cost, spent: budget.units - verdict.remaining });
  };
  /** When something was last spent that Redis was not told of, or what it knew may have been lost. */
  let apartAtMs = Number.NEGATIVE_INFINITY;
  const isApart = (budget: Budget, nowMs: number): boolean =>
    nowMs < Math.max(apartAtMs, shared.lostAtMs) + resetAfterMs(budget);

  const spendAlone = (budget: Budget, name: string, cost: number, nowMs: number): Decision => {
    if (budget.failClosed) throw limitsAway(breaker.restMs(nowMs));
    apartAtMs = nowMs;
    const verdict = local.spend(budget, name, cost, nowMs);
    if (!verdict.allowed) block(budget, name, cost, verdict, nowMs);
    return verdict;
  };
  const ask = async (budget: Budget, key: string, name: string, cost: number): Promise<Decision> => {
    const verdict = await shared.spend(budget, key, cost);
    breaker.succeeded();
    if (!verdict.allowed) block(budget, name, cost, verdict, performance.now());
    return verdict;
  };
  const spendShared = async (budget: Budget, key: string, name: string, cost: number): Promise<Decision> => {
    try {
      const verdict = await ask(budget, key, name, cost);
      if (verdict.allowed) local.count(budget, name, cost, performance.now());
      return verdict;
    } catch (error) {
      breaker.failed(error, performance.now());
      return spendAlone(budget, name, cost, performance.now());
    }
  };
  /** After trouble, what this process knows and what Redis knows must both allow it, for as long as they differ. */
  const spendBoth = async (
    budget: Budget,
    key: string,
    name: string,
    cost: number,
    nowMs: number,
  ): Promise<Decision> => {
    const own = local.spend(budget, name, cost, nowMs);
    if (!own.allowed) return own;
    try {
      const verdict = await ask(budget, key, name, cost);
      if (verdict.allowed) return { ...verdict, remaining: Math.min(own.remaining, verdict.remaining) };
      local.giveBack(budget, name, cost, nowMs, performance.now());
      return verdict;
    } catch (error) {
      breaker.failed(error, performance.now());
      if (budget.failClosed) throw limitsAway(breaker.restMs(performance.now()));
      apartAtMs = performance.now();
      return own;
    }
  };
  return {
    spend(budget, key, cost) {
      const name = `${budget.name}:${key}`;
      const nowMs = performance.now();
      const blocked = blockedVerdict(budget, name, cost, nowMs);
      if (blocked !== undefined) return blocked;
      if (!shared.isConnected || !breaker.mayAsk(nowMs)) return spendAlone(budget, name, cost, nowMs);
      if (isApart(budget, nowMs)) return spendBoth(budget, key, name, cost, nowMs);
      return spendShared(budget, key, name, cost);
    },
    get isShared() {
      return shared.isConnected && breaker.isClosed;
    },
    cachedDenial: (budget, key, cost) =>
      blockedVerdict(budget, `${budget.name}:${key}`, cost, performance.now()),
    close: () => shared.close(),
  };
}

/** Who keeps no budgets for a moment lets nobody pass. */
function limitsAway(retryAfterMs: number): AppError {
  return new AppError(
    "unavailable",
    "It cannot be seen whether you may call this now. Try again in a second.",
    {
      reason: "LIMITS_AWAY",
      retryAfterMs,
    },
  );
}
