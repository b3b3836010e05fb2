import { backoffMs } from "../../../../kernel/async/backoff.ts";
import { startLoop } from "../../../../kernel/async/start-loop.ts";
import { internalCall } from "../../../../kernel/call.ts";
import type { Clock } from "../../../../kernel/clock.ts";
import { MINUTE_MS, SECOND_MS } from "../../../../kernel/durations.ts";
import { createCountedWarning, type Log } from "../../../../kernel/log.ts";
import { createThrottledWarning } from "../../../jobs/throttled-warning.ts";
import type { Database } from "../../../postgres/postgres.ts";
import { signWebhook } from "../../webhook-signature.ts";
import type { NewEvent } from "../payment-rows.ts";
import {
  DELETE_EVENTS,
  type FailedDelivery,
  LEASE_EVENTS,
  type LeasedEvent,
  postponeEvents,
} from "./event-rows.ts";
import { SIGNATURE_HEADER } from "./sandbox-event.ts";
import { createWebhookClient } from "./webhook-client.ts";

/** Delivers webhooks. */
export interface WebhookDelivery {
  /** Delivers events that this process has written, soon after their commit. */
  add(events: readonly NewEvent[]): void;
  /** Stops, waits for the deliveries in flight, and stores their outcomes. The other events stay in the database. */
  close(): Promise<void>;
}

export interface DeliveryOptions {
  db: Database;
  clock: Clock;
  log: Log;
  /** Signs the events. */
  secret: string;
  url: string;
}

/** Time in which a process delivers an event that it has leased. Longer than a request. */
export const LEASE_MS = 15 * SECOND_MS;
/** Attempts of each event. The reconciliation of payments replaces those that were never delivered. */
export const MAX_ATTEMPTS = 20;
const REQUEST_TIMEOUT_MS = 5 * SECOND_MS;
const BACKOFF = { firstMs: SECOND_MS / 2, maxMs: 5 * MINUTE_MS };
/** Half of the webhooks that the server receives concurrently, so that many of them share a transaction there. */
export const MAX_CONNECTIONS = 32;
/** Events that wait in memory. Further ones are leased again when their leases have ended. */
export const MAX_WAITING = 4_096;
const MAX_LEASED = 256;
const POLL_MS = SECOND_MS;
/** Outcomes of so much time share a transaction. Those that are lost cause a repeated delivery. */
const STORE_DELAY_MS = 50;

/** Starts to deliver the events that are due, and those that are added. */
export function startDelivery({ db, clock, log, secret, url }: DeliveryOptions): WebhookDelivery {
  const client = createWebhookClient(url, { maxConnections: MAX_CONNECTIONS });
  const warnFailed = createCountedWarning(log, "Webhook of the sandbox not accepted", "failures");
  const waiting: LeasedEvent[] = [];
  /** By the payments of their events: those of one payment are sent in their order. */
  const running = new Map<string, Promise<void>>();
  let delivered: string[] = [];
  let failed: FailedDelivery[] = [];
  let isClosed = false;

  function start(): void {
    while (!isClosed && running.size < MAX_CONNECTIONS) {
      const index = waiting.findIndex(({ sandboxPaymentId }) => !running.has(sandboxPaymentId));
      const [event] = index === -1 ? [] : waiting.splice(index, 1);
      if (event === undefined) return;
      const delivery = deliver(event).finally(() => {
        running.delete(event.sandboxPaymentId);
        start();
      });
      running.set(event.sandboxPaymentId, delivery);
    }
  }

  async function deliver(event: LeasedEvent): Promise<void> {
    const now = clock.now();
    // Another process may have leased an event that has waited so long.
    if (event.leaseEndsAt.getTime() - now.getTime() < REQUEST_TIMEOUT_MS) return;
    const { id, sandboxPaymentId, attempts } = event;
    const error = await post(event.body, now);
    if (error === undefined) {
      delivered.push(id);
    } else if (attempts >= MAX_ATTEMPTS) {
      delivered.push(id);
      log.error({ err: error, eventId: id, sandboxPaymentId, attempts }, "Webhook of the sandbox given up");
    } else {
      warnFailed({ err: error, eventId: id, sandboxPaymentId, attempt: attempts });
      const delayMs = backoffMs(attempts, BACKOFF);
      failed.push({ id, dueAt: new Date(clock.now().getTime() + delayMs) });
    }
    loop.wake(STORE_DELAY_MS);
  }

  /** Posts an event and returns the error, if it was not accepted. */
  async function post(text: string, now: Date): Promise<unknown> {
    const body = Buffer.from(text);
    try {
      const headers = { [SIGNATURE_HEADER]: signWebhook(body, secret, now) };
      const status = await client.post(body, headers, AbortSignal.timeout(REQUEST_TIMEOUT_MS));
      return status >= 200 && status < 300
        ? undefined
        : new Error(`The server responded with status ${status}.`);
    } catch (error) {
      return error;
    }
  }

  async function storeOutcomes(): Promise<void> {
    const ended = delivered;
    const postponed = failed;
    if (ended.length === 0 && postponed.length === 0) return;
    delivered = [];
    failed = [];
    try {
      await db.transact(internalCall(), async (tx) => {
        if (ended.length > 0) await tx.query(DELETE_EVENTS(ended));
        if (postponed.length > 0) await tx.query(postponeEvents(postponed));
      });
    } catch (error) {
      delivered.push(...ended);
      failed.push(...postponed);
      throw error;
    }
  }

  /** Leases events that are due, unless enough are waiting. Returns the delay of the next round in milliseconds. */
  async function leaseEvents(): Promise<number> {
    const limit = Math.min(MAX_LEASED, MAX_WAITING - waiting.length);
    if (limit <= 0) return POLL_MS;
    const now = clock.now();
    const leaseEndsAt = new Date(now.getTime() + LEASE_MS);
    const events = await db.transact(internalCall(), (tx) => tx.query(LEASE_EVENTS(now, leaseEndsAt, limit)));
    waiting.push(...events.map((event) => ({ ...event, leaseEndsAt })));
    start();
    return events.length === limit ? 0 : POLL_MS;
  }

  const warnUnavailable = createThrottledWarning(log);
  const loop = startLoop({
    async run() {
      await storeOutcomes();
      return leaseEvents();
    },
    onFailure: (error) =>
      warnUnavailable({ err: error }, "Webhooks of the sandbox neither leased nor recorded as delivered"),
  });

  return {
    add(events) {
      for (const event of events) {
        const { attempts, dueAt } = event;
        if (attempts === 0) loop.wake(dueAt.getTime() - clock.now().getTime());
        else if (waiting.length < MAX_WAITING) waiting.push({ ...event, leaseEndsAt: dueAt });
      }
      start();
    },
    async close() {
      isClosed = true;
      await loop.close();
      await Promise.all(running.values());
      const now = clock.now();
      failed.push(...waiting.splice(0).map(({ id }) => ({ id, dueAt: now })));
      await storeOutcomes().catch((error) => warnUnavailable({ err: error }, "Deliveries not recorded"));
      client.close();
    },
  };
}
