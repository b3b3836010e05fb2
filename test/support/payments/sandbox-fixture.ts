import { randomUUID } from "node:crypto";
import { entities } from "../../../src/entities.ts";
import type {
  CaptureMethod,
  GatewayCall,
  GatewayReport,
  PaymentReference,
  WebhookEvent,
} from "../../../src/infra/payment/payment-gateway.ts";
import {
  createSandbox,
  readWebhookSecrets,
  type Sandbox,
} from "../../../src/infra/payment/sandbox/sandbox.ts";
import { type Database, openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import type { Clock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import type { Log } from "../../../src/kernel/log.ts";
import { createTestClock, type TestClock } from "../identity/test-clock.ts";
import { silentLog } from "../log.ts";
import { createTestDatabase, type TestDatabase } from "../stores/database.ts";
import { type ReceivedWebhook, startWebhookReceiver, type WebhookReceiver } from "./webhook-receiver.ts";

/** A sandbox with a database of its own, and a receiver of its webhooks. */
export interface SandboxFixture {
  database: TestDatabase;
  db: Database;
  clock: TestClock;
  receiver: WebhookReceiver;
  secrets: readonly string[];
  sandbox: Sandbox;
  /** Creates another sandbox on the same database, as another process has it. */
  open(options?: { secrets?: readonly string[]; clock?: Clock; log?: Log }): Sandbox;
  /** Creates a payment of EUR 10.00 unless another amount is given. */
  create(methodToken: string, options?: CreateOptions): Promise<GatewayReport>;
  /** Returns the webhooks so far, verified. */
  events(): WebhookEvent[];
  /** Returns the events that are not delivered, in the order of their creation. */
  undelivered(): Promise<{ id: string; attempts: number; due_at: Date }[]>;
  close(): Promise<void>;
}

export interface CreateOptions {
  paymentId?: string;
  orderId?: string;
  capture?: CaptureMethod;
  minorUnits?: bigint;
  currencyCode?: string;
  limits?: GatewayCall;
}

/** Limits of calls that take as long as they need. */
export const NO_LIMITS: GatewayCall = { signal: new AbortController().signal, timeoutMs: 60_000 };

/** Returns what identifies a payment. */
export const referenceOf = ({ paymentId, reference }: GatewayReport): PaymentReference => ({
  paymentId,
  reference,
});

/** Opens a sandbox. */
export async function openSandbox(): Promise<SandboxFixture> {
  const database = await createTestDatabase();
  const pool = { poolMax: 8, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  const db = await openPostgres({ url: database.url, entities, log: silentLog, ...pool });
  const clock = createTestClock();
  const receiver = await startWebhookReceiver();
  const secrets = await readWebhookSecrets(db, internalCall());
  const open: SandboxFixture["open"] = (options = {}) =>
    createSandbox({
      db,
      clock,
      ids: createIds(clock),
      log: silentLog,
      secrets,
      statementTimeoutMs: 30_000,
      waitMs: 30_000,
      ...options,
    });
  const sandbox = open();
  return {
    database,
    db,
    clock,
    receiver,
    secrets,
    sandbox,
    open,
    create: (methodToken, options = {}) => createWith(sandbox, methodToken, options),
    events: () => receiver.received.map((webhook) => verify(sandbox, webhook, clock)),
    undelivered: () => database.query("select id, attempts, due_at from sandbox_event order by id"),
    async close() {
      await db.close();
      await receiver.close();
      await database.drop();
    },
  };
}

/** Creates a payment at a sandbox. */
export function createWith(
  sandbox: Sandbox,
  methodToken: string,
  {
    paymentId = randomUUID(),
    orderId = randomUUID(),
    capture = "AT_SHIPMENT",
    minorUnits = 1_000n,
    currencyCode = "EUR",
    limits = NO_LIMITS,
  }: CreateOptions = {},
): Promise<GatewayReport> {
  const amount = { currencyCode, minorUnits };
  return sandbox.createIntent({ paymentId, orderId, amount, capture, methodToken }, limits);
}

/** Verifies a webhook as the endpoint of the service does. */
export function verify(sandbox: Sandbox, { headers, body }: ReceivedWebhook, clock: Clock): WebhookEvent {
  const entries = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
    typeof value === "string" ? [[name, value]] : [],
  );
  return sandbox.verifyWebhook({ headers: new Map(entries), body, now: clock.now() });
}

/** Returns the types and amounts of the facts of a report. */
export function factsOf({ facts }: GatewayReport): [string, bigint][] {
  return facts.map(({ type, amount }) => [type, amount.minorUnits]);
}
