import type { NegativeControl } from "./negative-control.ts";

/** Returns a statement that inserts a job with these values, and the id of the order. */
const job = (columns: string, values: string, queue = "invalidation"): string =>
  `insert into pgboss.job (id, name, data, keep_until, ${columns}) values (':order', '${queue}', '{}', now() + interval '14 days', ${values})`;

/** Negative controls of the check of background jobs. */
export const jobControls: readonly NegativeControl[] = [
  ["jobs", "jobs/:order", job("state", "'cancelled'")],
  ["jobs", "jobs/:order", job("blocked", "true")],
  ["jobs", "jobs/:order", job("start_after", "now() + interval '1 year'")],
  [
    "jobs",
    "jobs/:order",
    job("state, started_on, expire_seconds", "'active', now() - interval '3 minutes', 60"),
    "update pgboss.queue set monitor_claim_on = now()",
  ],
  [
    "jobs",
    "jobs/:order",
    job(
      "state, started_on, expire_seconds, heartbeat_on, heartbeat_seconds",
      "'active', now() - interval '3 minutes', 3600, now() - interval '2 minutes', 10",
    ),
    "update pgboss.queue set monitor_claim_on = now()",
  ],
  [
    "jobs",
    "jobs/:order",
    'insert into pgboss.queue select (q).* from (select jsonb_populate_record(queue, \'{"name": "removed"}\') as q from pgboss.queue limit 1) as copy',
    job("priority", "0", "removed"),
  ],
];
