import { createThrottledWarning } from "../../../infra/jobs/throttled-warning.ts";
import type { PaymentGateway, WebhookEvent } from "../../../infra/payment/payment-gateway.ts";
import type { Database } from "../../../infra/postgres/postgres.ts";
import { type Loop, startLoop } from "../../../kernel/async/start-loop.ts";
import { type Call, internalCall } from "../../../kernel/call.ts";
import type { Clock } from "../../../kernel/clock.ts";
import { errorMessage, truncated } from "../../../kernel/errors.ts";
import type { Log } from "../../../kernel/log.ts";
import type { ReportWriter } from "../../ledger/report-writer.ts";
import { RECORD_FAILURE, SET_OUTCOME, type StoredEvent, TAKE_EVENTS } from "./event-rows.ts";

/** Processes stored webhooks. Several processes may do this concurrently. */
export interface EventProcessor {
  /**
   * Processes a batch of the webhooks that are due.
   * @returns the number of webhooks that were taken; those that could not be processed are due again later
   */
  run(call: Call): Promise<number>;
  /** Repeats rounds until the loop is closed. */
  start(): Loop;
}

/** Dependencies of processing stored webhooks. */
export interface ProcessOptions {
  db: Database;
  gateway: PaymentGateway;
  reports: Pick<ReportWriter, "apply">;
  clock: Clock;
  log: Log;
}

/** Maximum number of webhooks of a round. */
const BATCH_SIZE = 100;
/** Interval of rounds that are not full, in milliseconds. */
const POLL_MS = 2_000;
/** Longest error that is stored, in UTF-16 units. */
const MAX_ERROR_LENGTH = 500;

/**
 * Creates the processor of the webhooks that the process which has received them has not processed, such as because it was
 * killed.
 */
export function createEventProcessor(options: ProcessOptions): EventProcessor {
  const { db, clock, log } = options;
  const warn = createThrottledWarning(log);
  const run = async (call: Call): Promise<number> => {
    const events = await db.transact(call, (tx) => tx.query(TAKE_EVENTS(clock.now(), BATCH_SIZE)));
    await Promise.all(
      events.map(async (event) => {
        try {
          await processEvent(options, call, event);
        } catch (error) {
          const { gateway, event_id: eventId, attempts } = event;
          warn({ err: error, gateway, eventId, attempts }, "Webhook not processed; retrying later");
          await db.transact(call, (tx) => tx.query(RECORD_FAILURE(gateway, eventId, storedText(error))));
        }
      }),
    );
    return events.length;
  };
  return {
    run,
    start: () =>
      startLoop({
        run: async (signal) => ((await run(internalCall(signal))) < BATCH_SIZE ? POLL_MS : 0),
        onFailure: (error, failuresInARow) =>
          warn({ err: error, failuresInARow }, "Stored webhooks not processed; retrying"),
      }),
  };
}

async function processEvent(
  { db, gateway, reports, clock, log }: ProcessOptions,
  call: Call,
  { gateway: name, event_id: eventId, body }: StoredEvent,
): Promise<void> {
  if (name !== gateway.name)
    throw new Error(`The gateway ${name} is not configured. Set PAYMENT_GATEWAY to it.`);
  const setOutcome = (outcome: "IGNORED" | "UNREADABLE", error: string | null) =>
    db.transact(call, (tx) => tx.query(SET_OUTCOME(name, eventId, outcome, error, clock.now())));
  let event: WebhookEvent;
  try {
    event = gateway.readWebhook(body);
  } catch (error) {
    log.error({ err: error, gateway: name, eventId }, "Stored webhook not readable");
    await setOutcome("UNREADABLE", storedText(error));
    return;
  }
  if (event.report === undefined) await setOutcome("IGNORED", null);
  else await reports.apply({ gateway: name, source: "WEBHOOK", statement: event.report, eventId });
}

/** Returns the message of an error. PostgreSQL stores no NUL. */
function storedText(error: unknown): string {
  return truncated(errorMessage(error), MAX_ERROR_LENGTH).toWellFormed().replaceAll("\0", "\uFFFD");
}
