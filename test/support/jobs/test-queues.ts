import type { Queue } from "../../../src/infra/jobs/queues.ts";

/** Queues for tests: the first is polled, of the second the workers are told. */
export const polled: Queue<{ n: number }> = {
  name: "polled",
  batchSize: 10,
  expireInSeconds: 2,
  notify: false,
};
export const told: Queue<{ n: number }> = { ...polled, name: "told", notify: true };
