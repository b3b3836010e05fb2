import type { Tx } from "../../postgres/postgres.ts";
import type { Topic } from "../topic.ts";

/** The position of a row in the outbox. Rows are ordered by epoch, then transaction id, then id. */
export interface OutboxPosition {
  /** Increases when the database is restored to another server, whose transaction ids are unrelated. */
  readonly epoch: number;
  /** Id of the transaction that published, decimal. */
  readonly xid: string;
  /** Decimal. It is unique. */
  readonly id: string;
}

/** A published event. */
export interface OutboxEvent<Data> {
  /** Name of its topic. */
  readonly topic: string;
  readonly data: Data;
  /** Position of its row, which holds all events of its transaction. */
  readonly position: OutboxPosition;
}

/** A reader of the outbox. It gets each event of its topics once, with a cursor of its own. */
export interface OutboxConsumer<Data> {
  /** Name of its cursor. Removing a consumer takes a migration that deletes the cursor. */
  readonly name: string;
  readonly topics: readonly Topic<Data>[];
  /** Time from a commit to the batch with its events, in milliseconds. Longer batches are fewer and larger. */
  readonly delayMs: number;
  /** Minimum age of the rows that it reads, in milliseconds. Defaults to 0. */
  readonly minAgeMs?: number;
  /** Distance from the end of the outbox at which the consumer counts as too far behind. */
  readonly limits: OutboxLimits;
  /**
   * Applies events in the transaction that advances the cursor: both are committed, or neither. Effects elsewhere must
   * be idempotent.
   *
   * All events were committed before. Their order is that of transaction ids, not of commits. So an event that replaces
   * the state of a resource carries a version taken under the lock of its row, and older ones are ignored; events that
   * are added up can be applied in any order.
   */
  apply(tx: Tx, events: readonly OutboxEvent<Data>[]): Promise<void>;
  /**
   * Replaces the effect of events that are dropped because the consumer is too far behind. Without this function none is
   * dropped, and a warning is logged.
   */
  skip?(tx: Tx): Promise<void>;
}

export interface OutboxLimits {
  readonly rows: number;
  readonly ageMs: number;
}
