import type { SqlEntityManager } from "@mikro-orm/postgresql";
import type { Call } from "../../kernel/call.ts";
import type { Topic } from "../outbox/topic.ts";
import type { Statement } from "./statement.ts";

/** The cache tags that a transaction has changed. */
export interface Invalidation {
  readonly tags: readonly string[];
  /** Identifies the invalidation, so that it is not repeated when it is complete. */
  readonly generation: Buffer;
}

/** An open transaction: entities for the rules of single rows, statements for everything else. */
export interface Tx {
  /** Unit of work on the transaction's connection. It is flushed before the commit. */
  readonly em: SqlEntityManager;
  /** Runs a statement and returns its rows. */
  query<Row>(statement: Statement<Row>): Promise<Row[]>;
  /**
   * Runs `work`, whose statements are sent immediately, without waiting for the responses of the ones before: one round
   * trip for all of them. PostgreSQL runs them in the order of their calls. Resolves when all have their responses.
   */
  pipelined<T>(work: () => Promise<T>): Promise<T>;
  /** Publishes an event, which consumers of its topic get after the commit. `data` is stored as JSON. */
  publish<Data>(topic: Topic<Data>, data: Data): void;
  /** Registers cache tags. Responses cached under them are dropped after the commit, before `transact` returns. */
  invalidate(...tags: string[]): void;
  /**
   * Registers the cache tag of a resource with its new version, which increases with each change. Cached responses may
   * lack the change for a second after the commit: the invalidations of a tag are throttled to one a second.
   * @param version absent: the invalidation is not delayed, for changes that are themselves made once a second
   */
  invalidateThrottled(tag: string, version?: bigint): void;
  /** Returns the tags that are registered so far. */
  invalidation(): Invalidation;
  /** Repeats the invalidation of an earlier transaction after the commit, unless it is complete. */
  repeatInvalidation(invalidation: Invalidation): void;
}

/** Runs a statement on a snapshot of the data and returns its rows. */
export type SnapshotQuery = <Row>(statement: Statement<Row>) => Promise<Row[]>;

/** Upper bounds of one transaction, in milliseconds. Absent ones are those of the connection. */
export interface TransactionLimits {
  readonly statementTimeoutMs?: number;
  /** Longest wait for one lock. A transaction that waits longer fails without another attempt. */
  readonly lockTimeoutMs?: number;
}

/** The connection pool. Its methods throw AppErrors for failures that a caller can act upon. */
export interface Database {
  /** Runs one statement outside of a transaction and returns its rows. */
  read<Row>(call: Call, statement: Statement<Row>): Promise<Row[]>;
  /**
   * Runs `work` in a READ COMMITTED transaction and commits, unless the call was aborted by then.
   *
   * After a deadlock, a serialization failure, a lock timeout or a connection lost before the commit, it runs again,
   * up to three attempts in all; `work` must therefore have no effects outside of the transaction.
   * A call that is aborted during its COMMIT waits for the response, as long as for that of any statement.
   * @throws AppError aborted when the last attempt failed as well; unavailable without a connection, or when it was lost
   *   during the COMMIT, which may have taken effect; cancelled or deadline_exceeded for an aborted call, of which nothing
   *   is committed, unless the reason is OUTCOME_UNKNOWN: its deadline passed, and its COMMIT got no response
   */
  transact<T>(call: Call, work: (tx: Tx) => Promise<T>, limits?: TransactionLimits): Promise<T>;
  /** Runs `work` like `transact` and rolls back, for `validate_only`. */
  dryRun<T>(call: Call, work: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * Runs `work` in a REPEATABLE READ READ ONLY transaction on the primary: all its statements read one snapshot.
   * @param timeLimitMs time limit of all statements together, in milliseconds, instead of the statement timeout. The
   *   call's deadline may lower it
   * @throws AppError deadline_exceeded when the statements take longer; unavailable without a connection; cancelled or
   *   deadline_exceeded for an aborted call
   */
  readSnapshot<T>(call: Call, timeLimitMs: number, work: (query: SnapshotQuery) => Promise<T>): Promise<T>;
  /** Resolves when PostgreSQL has responded to a statement. */
  ping(): Promise<void>;
  close(): Promise<void>;
}
