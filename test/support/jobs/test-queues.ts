import type { Queue } from "../../../src/infra/jobs/queues.ts";

/** A queue that workers poll. */
export const polledQueue: Queue<{ n: number }> = {
  name: "polled",
  batchSize: 10,
  expireInSeconds: 2,
  maxAttempts: 16,
  notify: false,
};

/** A queue whose workers are notified of commits. */
export const notifiedQueue: Queue<{ n: number }> = { ...polledQueue, name: "notified", notify: true };

/** A queue whose jobs may take two minutes. */
export const slowQueue: Queue<{ n: number }> = { ...polledQueue, name: "slow", expireInSeconds: 120 };

/** A queue whose jobs have two attempts. */
export const twiceQueue: Queue<{ n: number }> = { ...slowQueue, name: "twice", maxAttempts: 2 };

/** A queue whose jobs have one attempt. */
export const onceQueue: Queue<{ n: number }> = { ...polledQueue, name: "once", maxAttempts: 1 };

export const testQueues = [polledQueue, notifiedQueue, slowQueue, twiceQueue, onceQueue];
