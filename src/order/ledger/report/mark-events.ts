import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { arraysOf, type ListColumn, prepareList, unnest } from "../../../infra/postgres/statement.ts";
import type { AppliedReport, Report } from "./report.ts";

/** The webhook of a report, and what became of it. */
interface ProcessedEvent {
  gateway: Report["gateway"];
  eventId: string;
  outcome: AppliedReport["outcome"];
}

const COLUMNS: readonly ListColumn<ProcessedEvent>[] = [
  { name: "gateway", type: "text", value: ({ gateway }) => gateway },
  { name: "event_id", type: "text", value: ({ eventId }) => eventId },
  { name: "outcome", type: "text", value: ({ outcome }) => outcome },
];
const MARK = prepareList<object>(
  1 + COLUMNS.length,
  ([now, ...arrays]) => sql`
    update webhook_event set processed_at = ${now}, outcome = processed.outcome, last_error = null
    from ${unnest(COLUMNS, arrays, "processed")}
    where (webhook_event.gateway, webhook_event.event_id) = (processed.gateway, processed.event_id)
      and processed_at is null`,
);

/** Marks the webhooks of reports as processed. */
export async function markEvents(
  tx: Tx,
  reports: readonly { report: Report; outcome: AppliedReport["outcome"] }[],
  now: Date,
): Promise<void> {
  const events = reports.flatMap(({ report: { gateway, eventId }, outcome }): ProcessedEvent[] =>
    eventId === undefined ? [] : [{ gateway, eventId, outcome }],
  );
  if (events.length > 0) await tx.query(MARK([now, ...arraysOf(COLUMNS, events)]));
}
