import { sql } from "kysely";
import { arraysOf, type ListColumn, prepare, prepareList, unnest } from "../../../postgres/statement.ts";
import type { SandboxEvent } from "./sandbox-event.ts";

/** An event that this process may deliver until its lease ends. */
export interface LeasedEvent extends SandboxEvent {
  /** Id of its payment at the sandbox. */
  sandboxPaymentId: string;
  /** Deliveries that were started, this one included. */
  attempts: number;
  leaseEndsAt: Date;
}

/** A delivery that has failed. */
export interface FailedDelivery {
  id: string;
  /** Time of the next attempt. */
  dueAt: Date;
}

/** Leases events that are due, the oldest first. Those that another process is leasing are left to it. */
export const LEASE_EVENTS = prepare<
  [now: Date, leaseEndsAt: Date, limit: number],
  SandboxEvent & Pick<LeasedEvent, "sandboxPaymentId" | "attempts">
>(
  (now, leaseEndsAt, limit) => sql`
    with due as (
      select id from sandbox_event where due_at <= ${now} order by due_at, id limit ${limit} for update skip locked
    ),
    leased as (
      update sandbox_event set due_at = ${leaseEndsAt}, attempts = attempts + 1 from due
      where sandbox_event.id = due.id returning sandbox_event.id,
        sandbox_payment_id as "sandboxPaymentId", body, attempts
    )
    select * from leased order by id`,
);

/** Deletes events that were delivered, or will not be. */
export const DELETE_EVENTS = prepare<[ids: readonly string[]], never>(
  (ids) => sql`delete from sandbox_event where id = any(${ids}::text[])`,
);

const FAILED_COLUMNS: readonly ListColumn<FailedDelivery>[] = [
  { name: "id", type: "text", value: ({ id }) => id },
  { name: "due_at", type: "timestamptz", value: ({ dueAt }) => dueAt },
];

const POSTPONE_EVENTS = prepareList<never>(
  FAILED_COLUMNS.length,
  (arrays) => sql`
    update sandbox_event set due_at = failed.due_at from ${unnest(FAILED_COLUMNS, arrays, "failed")}
    where sandbox_event.id = failed.id`,
);

/** Returns the statement that sets the times of the next attempts. */
export function postponeEvents(failed: readonly FailedDelivery[]) {
  return POSTPONE_EVENTS(arraysOf(FAILED_COLUMNS, failed));
}
