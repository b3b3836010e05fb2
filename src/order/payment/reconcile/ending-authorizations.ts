import { sql } from "kysely";
import type { Database } from "../../../infra/postgres/postgres.ts";
import { prepare } from "../../../infra/postgres/statement.ts";
import { type Loop, startLoop } from "../../../kernel/async/start-loop.ts";
import { type Call, internalCall } from "../../../kernel/call.ts";
import type { Clock } from "../../../kernel/clock.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../../kernel/durations.ts";
import type { Log } from "../../../kernel/log.ts";

/** Reports authorizations that end soon: what is not captured by then is lost. */
export interface AuthorizationAlarm {
  /** Logs the authorizations that end within 24 hours, unless they were logged less than an hour ago. */
  run(call: Call): Promise<void>;
  /** Repeats this once a minute until the loop is closed. */
  start(): Loop;
}

/** Dependencies of the alarm. */
export interface AuthorizationAlarmOptions {
  db: Pick<Database, "read">;
  clock: Clock;
  log: Log;
}

/** Maximum number of payments of a log line. */
const MAX_PAYMENTS = 100;

const FIND = prepare<[before: Date, limit: number], { id: string; capture_before: string }>(
  (before, limit) => sql`
    select id, capture_before from payment where state = 'AUTHORIZED' and capture_before < ${before}
    order by capture_before, id limit ${limit}`,
);

/** Creates the alarm. */
export function createAuthorizationAlarm({ db, clock, log }: AuthorizationAlarmOptions): AuthorizationAlarm {
  /** The payments of the last line, and its time. */
  let logged: { ids: ReadonlySet<string>; atMs: number } = { ids: new Set(), atMs: Number.NEGATIVE_INFINITY };
  const run = async (call: Call): Promise<void> => {
    const nowMs = clock.now().getTime();
    const [first, ...others] = await db.read(call, FIND(new Date(nowMs + DAY_MS), MAX_PAYMENTS));
    if (first === undefined) return;
    const ids = [first, ...others].map(({ id }) => id);
    const isKnown = nowMs - logged.atMs < HOUR_MS && ids.every((id) => logged.ids.has(id));
    if (isKnown) return;
    logged = { ids: new Set(ids), atMs: nowMs };
    const endsAt = new Date(first.capture_before).toISOString();
    log.error({ paymentIds: ids, count: ids.length, firstEndsAt: endsAt }, "Authorizations end soon");
  };
  return {
    run,
    start: () =>
      startLoop({
        async run(signal) {
          await run(internalCall(signal));
          return MINUTE_MS;
        },
        onFailure: (error, failuresInARow) =>
          log.warn({ err: error, failuresInARow }, "Ending authorizations not read; retrying"),
      }),
  };
}
