import { createThrottledWarning } from "../../../infra/jobs/throttled-warning.ts";
import {
  InvalidWebhookError,
  type PaymentGateway,
  type WebhookEvent,
} from "../../../infra/payment/payment-gateway.ts";
import { createStatsLog } from "../../../infra/stats-log.ts";
import { internalCall } from "../../../kernel/call.ts";
import type { Clock } from "../../../kernel/clock.ts";
import type { Log } from "../../../kernel/log.ts";
import type { ReportWriter } from "../../ledger/report-writer.ts";
import type { EventWriter } from "./event-writer.ts";

/** A webhook as it was received. */
export interface ReceivedWebhook {
  /** Name of the sender, as in the path. */
  gateway: string;
  /** By lower-case names. */
  headers: ReadonlyMap<string, string>;
  /** The raw bytes that are signed. */
  body: Buffer;
}

/** Receives the webhooks of the payment gateway. */
export interface Webhooks {
  /** Names of the senders whose webhooks are received. */
  readonly gateways: ReadonlySet<string>;
  /**
   * Verifies a webhook and stores it, unless an earlier delivery has stored it. Afterwards it is processed, without being
   * awaited: what it reports may arrive in any order, and again.
   * @returns INVALID for a wrong or old signature, and for an unreadable body
   * @throws AppError as `BatchWriter.write` does: it is not stored, or not known to be
   */
  receive(webhook: ReceivedWebhook, signal: AbortSignal): Promise<"STORED" | "INVALID">;
  /** Waits for the webhooks that are being processed. */
  close(): Promise<void>;
}

/** Dependencies of receiving webhooks. */
export interface WebhookOptions {
  gateway: PaymentGateway;
  eventWriter: EventWriter;
  reports: Pick<ReportWriter, "apply">;
  clock: Clock;
  log: Log;
}

/** Creates the receiver of webhooks. */
export function createWebhooks({ gateway, eventWriter, reports, clock, log }: WebhookOptions): Webhooks {
  const warn = createThrottledWarning(log);
  const logStats = createStatsLog(log, "Webhooks received");
  const counters = { stored: 0, repeated: 0, invalid: 0 };
  const processing = new Set<Promise<void>>();

  /** The loop repeats what fails. */
  async function process({ id, report }: WebhookEvent): Promise<void> {
    if (report === undefined) return;
    try {
      await reports.apply({ gateway: gateway.name, source: "WEBHOOK", statement: report, eventId: id });
    } catch (error) {
      warn({ err: error, gateway: gateway.name, eventId: id }, "Webhook not processed; retrying later");
    }
  }

  function verify({ headers, body }: ReceivedWebhook): WebhookEvent | undefined {
    try {
      return gateway.verifyWebhook({ headers, body, now: clock.now() });
    } catch (error) {
      if (!(error instanceof InvalidWebhookError)) throw error;
      log.debug({ err: error, gateway: gateway.name }, "Webhook invalid");
      return undefined;
    }
  }

  function count(result: keyof typeof counters): void {
    counters[result] += 1;
    logStats(counters.stored + counters.repeated + counters.invalid, () => ({ ...counters }));
  }

  return {
    gateways: new Set([gateway.name]),
    async receive(webhook, signal) {
      const event = webhook.gateway === gateway.name ? verify(webhook) : undefined;
      if (event === undefined) {
        count("invalid");
        return "INVALID";
      }
      const isNew = await eventWriter.write(internalCall(signal), {
        gateway: gateway.name,
        id: event.id,
        type: event.type,
        body: webhook.body,
        receiveTime: clock.now(),
        isIgnored: event.report === undefined,
      });
      count(isNew ? "stored" : "repeated");
      if (isNew) {
        const running = process(event).finally(() => processing.delete(running));
        processing.add(running);
      }
      return "STORED";
    },
    async close() {
      await Promise.all(processing);
    },
  };
}
