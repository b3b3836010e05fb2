declare const data: unique symbol;

/** A kind of job. `Data` is what its jobs carry, as JSON. */
export interface Queue<Data extends object> {
  readonly name: string;
  /** How many jobs a handler is given at once, 2 at least: after a batch of one pg-boss waits for its next poll. */
  readonly batchSize: number;
  /** How long a batch may take. It also is how long the jobs of a worker that died wait to be run again. */
  readonly expireInSeconds: number;
  /**
   * Whether a commit wakes the workers, which then run the job within milliseconds; else within a second.
   * That costs each commit a lock of the whole server, and each job a fetch of its own.
   */
  readonly notify: boolean;
  readonly [data]?: Data;
}

/** Cache tags that a transaction has changed. */
export interface Invalidation {
  tags: string[];
  /** The transaction's generation, base64. */
  generation: string;
}

// The writer drops what is cached itself, after its commit. The job is for when it could not, so it may wait.
export const invalidationQueue: Queue<Invalidation> = {
  name: "invalidation",
  batchSize: 200,
  expireInSeconds: 15,
  notify: false,
};

/** All queues. They are made when the database is migrated. */
export const queues: readonly Queue<object>[] = [invalidationQueue];
