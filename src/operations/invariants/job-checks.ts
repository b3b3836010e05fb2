import { queues } from "../../infra/jobs/queues.ts";
import type { Check } from "./check.ts";

const queueNames = queues.map(({ name }) => `'${name}'`).join(", ");

/** Checks of the background jobs. */
export const jobChecks: readonly Check[] = [
  {
    name: "jobs",
    invariant: "I6",
    // Compared with the last supervision instead of the time of the check: without workers no job is taken from a dead one.
    description:
      "Each job waits in a queue that has workers, runs within its time limit or has failed; none is deleted before its next attempt.",
    query: `
      select 'jobs/' || job.id as resource, job.name as queue, state, blocked, start_after, keep_until, started_on, heartbeat_on
      from pgboss.job join pgboss.queue on queue.name = job.name
      where state not in ('created', 'retry', 'active', 'failed') or blocked or job.name not in (${queueNames})
        or state in ('created', 'retry') and keep_until <= start_after
        or state = 'active' and least(
            started_on + job.expire_seconds * interval '1 second',
            heartbeat_on + job.heartbeat_seconds * interval '1 second'
          ) < monitor_claim_on - interval '1 minute'`,
  },
];
