import { createBatchWriter, type Outcome } from "../../infra/batch-writer/batch-writer.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { contentionError } from "../../infra/postgres/postgres-errors.ts";
import type { RedisLock } from "../../infra/redis/redis-lock.ts";
import { withRetries } from "../../kernel/async/with-retries.ts";
import type { Call } from "../../kernel/call.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { Log } from "../../kernel/log.ts";
import { findLockedKeys } from "./find-locked-keys.ts";
import { lockHotProducts } from "./hot-product-lock.ts";
import { lockedKeys, type PlacedOrder, type Placement } from "./placement.ts";
import { type PlacementSources, readPlacements } from "./read-placements.ts";
import { type MoveStock, writePlacements } from "./write-placements.ts";

/** How concurrent orders of the same products are kept from taking the same units. */
export type StockStrategyName = "combined" | "pessimistic" | "optimistic";

/** Places orders so that concurrent ones never take the same units. */
export interface StockStrategy {
  /** Places an order, or finds the one that an earlier call has placed. @throws AppError as `Orders.create` does */
  place(call: Call, placement: Placement): Promise<PlacedOrder>;
}

/** Dependencies and limits of the strategies. */
export interface StrategyOptions extends PlacementSources {
  ids: Ids;
  db: Database;
  log: Log;
  /** Upper bound of one statement of orders that share a transaction, in milliseconds. */
  statementTimeoutMs: number;
  /** Longest time that an order waits for a transaction to share, in milliseconds. */
  waitMs: number;
  /** Locks hot products across replicas before orders that share a transaction. Absent: there is no such lock. */
  stockLock?: RedisLock | undefined;
}

const BATCH_SIZE = { items: 256, keys: 4_096 };
/** More batches in flight are smaller, and two are enough to keep PostgreSQL busy while Node works. */
const MAX_IN_FLIGHT = 2;
/** Far longer than another replica's batch holds its locks, and far shorter than the callers' deadlines. */
const LOCK_TIMEOUT_MS = 100;
const MAX_WAITING = 10_000;
const OPTIMISTIC_ATTEMPTS = 10;
const OPTIMISTIC_DELAY_MS = 2;
const OPTIMISTIC_MAX_DELAY_MS = 100;

/** Creates a strategy. */
export function createStockStrategy(name: StockStrategyName, options: StrategyOptions): StockStrategy {
  switch (name) {
    case "combined":
      return createCombined(options);
    case "pessimistic":
      return createPessimistic(options);
    case "optimistic":
      return createOptimistic(options);
  }
}

/** Orders share transactions, which lock the stock of all of their products. */
function createCombined(options: StrategyOptions): StockStrategy {
  const { db, inventory, ids, clock, log, statementTimeoutMs, waitMs, stockLock } = options;
  const moveStock = moveLockedStock(options);
  const writer = createBatchWriter({
    db: stockLock === undefined ? db : lockHotProducts({ db, inventory, lock: stockLock }),
    audit: { ids, clock },
    statementTimeoutMs,
    lockTimeoutMs: LOCK_TIMEOUT_MS,
    log,
    limits: { ...BATCH_SIZE, maxInFlight: MAX_IN_FLIGHT, waiting: MAX_WAITING, waitMs },
    work: {
      keysOf: lockedKeys,
      lock: (tx, placements: readonly Placement[]) => readPlacements(options, tx, placements, "all"),
      write: (tx, state, placements) => writePlacements(options, tx, placements, state, moveStock),
      findLocked: findLockedKeys,
    },
  });
  return { place: (call, placement) => writer.write(call, placement) };
}

/** Each order has a transaction of its own, which locks the stock of its products in id order. */
function createPessimistic(options: StrategyOptions): StockStrategy {
  const moveStock = moveLockedStock(options);
  return {
    place: (call, placement) =>
      options.db.transact(call, async (tx) => {
        const state = await readPlacements(options, tx, [placement], "all");
        return resultOf(await writePlacements(options, tx, [placement], state, moveStock));
      }),
  };
}

/** Each order reads the stock without a lock, and starts again if it has changed by the time that it is written. */
function createOptimistic(options: StrategyOptions): StockStrategy {
  const { db, inventory, log } = options;
  const moveStock: MoveStock = async (tx, lines, { levels, now }) => {
    const transitions = await inventory.moveForOrdersIfCurrent(tx, "ORDER", lines, levels, now);
    if (transitions === undefined) throw new StockChangedError();
    return transitions;
  };
  return {
    async place(call, placement) {
      const attempt = () =>
        db.transact(call, async (tx) => {
          const state = await readPlacements(options, tx, [placement], "all but stock");
          return resultOf(await writePlacements(options, tx, [placement], state, moveStock));
        });
      try {
        return await withRetries(attempt, {
          attempts: OPTIMISTIC_ATTEMPTS,
          firstDelayMs: OPTIMISTIC_DELAY_MS,
          maxDelayMs: OPTIMISTIC_MAX_DELAY_MS,
          isRetryable: (error) => error instanceof StockChangedError,
          onRetry: (_error, retry) => log.debug({ ...retry }, "Order retried because its stock has changed"),
          signal: call.signal,
        });
      } catch (error) {
        throw error instanceof StockChangedError ? contentionError(error) : error;
      }
    },
  };
}

/** Another transaction has changed the stock between its reading and its writing. */
class StockChangedError extends Error {
  override readonly name = "StockChangedError";
}

function moveLockedStock({ inventory }: StrategyOptions): MoveStock {
  return (tx, lines, { levels, now }) => inventory.moveForOrders(tx, "ORDER", lines, levels, now);
}

/** Returns the result of the only outcome. @throws its error */
export function resultOf([outcome]: readonly Outcome<PlacedOrder>[]): PlacedOrder {
  if (outcome === undefined) throw new Error("the order has no outcome");
  if ("error" in outcome) throw outcome.error;
  return outcome.result;
}
