import { sql } from "kysely";
import type { GatewayName } from "../../../infra/payment/payment-gateway.ts";
import {
  arraysOf,
  type ListColumn,
  prepare,
  prepareList,
  unnest,
} from "../../../infra/postgres/statement.ts";

/** A webhook to store. */
export interface NewEvent {
  gateway: GatewayName;
  id: string;
  type: string;
  /** As it was received and signed. */
  body: Buffer;
  receiveTime: Date;
  /** Whether there is nothing to process: it is not about the money of a payment. */
  isIgnored: boolean;
}

/** A stored webhook that is being processed. */
export interface StoredEvent {
  gateway: GatewayName;
  event_id: string;
  body: Buffer;
  /** How often the loop has taken it, this time included. */
  attempts: number;
}

/** Time in which the process that has received a webhook processes it, in milliseconds. */
export const FIRST_DELAY_MS = 5_000;
/** Longest delay between two attempts, in milliseconds. */
const MAX_DELAY_MS = 900_000;

const COLUMNS: readonly ListColumn<NewEvent>[] = [
  { name: "gateway", type: "text", value: ({ gateway }) => gateway },
  { name: "event_id", type: "text", value: ({ id }) => id },
  { name: "type", type: "text", value: ({ type }) => type },
  { name: "body", type: "bytea", value: ({ body }) => body },
  { name: "received_at", type: "timestamptz", value: ({ receiveTime }) => receiveTime },
  {
    name: "retry_at",
    type: "timestamptz",
    value: ({ receiveTime }) => new Date(receiveTime.getTime() + FIRST_DELAY_MS),
  },
  {
    name: "processed_at",
    type: "timestamptz",
    value: ({ isIgnored, receiveTime }) => (isIgnored ? receiveTime : null),
  },
  { name: "outcome", type: "text", value: ({ isIgnored }) => (isIgnored ? "IGNORED" : null) },
];
// Sorted, so that transactions which store the same webhooks wait for each other in the same order.
const INSERT = prepareList<{ gateway: string; event_id: string }>(
  COLUMNS.length,
  (arrays) => sql`
    insert into webhook_event (${sql.join(COLUMNS.map(({ name }) => sql.ref(name)))})
    select * from ${unnest(COLUMNS, arrays, "event")} order by gateway, event_id
    on conflict (gateway, event_id) do nothing returning gateway, event_id`,
);

/** Returns the statement that stores webhooks, and returns those that were not stored before. */
export function insertEvents(events: readonly NewEvent[]) {
  return INSERT(arraysOf(COLUMNS, events));
}

/**
 * Takes webhooks that are not processed, the oldest first. They are due again after exponential backoff with jitter,
 * unless they are processed by then. Those that another process is taking are left to it.
 */
export const TAKE_EVENTS = prepare<[now: Date, limit: number], StoredEvent>(
  (now, limit) => sql`
    update webhook_event set attempts = attempts + 1,
      retry_at = ${now}::timestamptz + interval '1 ms'
        * least(${FIRST_DELAY_MS} * 2 ^ least(attempts + 1, 20), ${MAX_DELAY_MS}) * (0.5 + random())
    from (
      select gateway, event_id from webhook_event where processed_at is null and retry_at <= ${now}
      order by retry_at limit ${limit} for update skip locked
    ) as due
    where webhook_event.gateway = due.gateway and webhook_event.event_id = due.event_id
    returning webhook_event.gateway, webhook_event.event_id, body, attempts`,
);

/** Records why a webhook could not be processed. It stays due. */
export const RECORD_FAILURE = prepare<[gateway: string, eventId: string, error: string], never>(
  (gateway, eventId, error) => sql`
    update webhook_event set last_error = ${error}
    where gateway = ${gateway} and event_id = ${eventId} and processed_at is null`,
);

/** Records that a webhook has nothing that can be applied. */
export const SET_OUTCOME = prepare<
  [gateway: string, eventId: string, outcome: "IGNORED" | "UNREADABLE", error: string | null, now: Date],
  never
>(
  (gateway, eventId, outcome, error, now) => sql`
    update webhook_event set processed_at = ${now}, outcome = ${outcome}, last_error = ${error}
    where gateway = ${gateway} and event_id = ${eventId} and processed_at is null`,
);
