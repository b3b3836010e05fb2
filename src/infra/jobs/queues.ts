declare const data: unique symbol;

/** A kind of job. `Data` is the type of its jobs' payload, which is stored as JSON. */
export interface Queue<Data extends object> {
  readonly name: string;
  /**
   * Maximum number of jobs that a worker takes together and runs concurrently, at least 2: after a batch of one pg-boss
   * waits for its next poll.
   */
  readonly batchSize: number;
  /** Time limit of an attempt, in seconds. */
  readonly expireInSeconds: number;
  /**
   * Number of attempts after which a job has failed. The delay before attempt n + 1 is random between 2^(n-1) and 2^n
   * seconds, and stays the same from attempt 17 on.
   */
  readonly maxAttempts: number;
  /** Upper bound of the delay between attempts, in seconds. Delays at the bound have no jitter. None by default. */
  readonly maxDelaySeconds?: number;
  /**
   * Whether a commit notifies the workers, which then run the job within milliseconds instead of a second. A
   * notification takes a server-wide lock in each commit and causes a fetch for each job.
   */
  readonly notify: boolean;
  readonly [data]?: Data;
}

/** Cache tags that a transaction has changed. */
export interface Invalidation {
  tags: string[];
  /** Generation of the transaction, base64. */
  generation: string;
}

// Only replicas of a version without the outbox enqueue these jobs, during a rolling update. The queue and its worker can
// be removed in the version after the first release with the outbox.
export const invalidationQueue: Queue<Invalidation> = {
  name: "invalidation",
  batchSize: 200,
  expireInSeconds: 15,
  // A week of attempts at the longest delay.
  maxAttempts: 7 * 24 * 60,
  maxDelaySeconds: 60,
  notify: false,
};

/** A request of the service to a payment gateway. */
export interface PaymentRequestJob {
  requestId: string;
}

/** The requests to payment gateways, in attempts over more than an hour. */
export const paymentRequestQueue: Queue<PaymentRequestJob> = {
  name: "payment-request",
  batchSize: 20,
  // More than the longest time limit of a call of a gateway.
  expireInSeconds: 45,
  maxAttempts: 14,
  maxDelaySeconds: 900,
  notify: true,
};

/** All queues. The migration creates them. */
export const queues: readonly Queue<object>[] = [invalidationQueue, paymentRequestQueue];
