import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { entities } from "../../../../../src/entities.ts";
import { type Database, openPostgres } from "../../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../../src/kernel/call.ts";
import { AppError } from "../../../../../src/kernel/errors.ts";
import { createIds } from "../../../../../src/kernel/ids.ts";
import type { Report } from "../../../../../src/order/ledger/report/report.ts";
import { createEventProcessor } from "../../../../../src/order/payment/webhook/event-processor.ts";
import { createEventWriter } from "../../../../../src/order/payment/webhook/event-writer.ts";
import { purgeEvents } from "../../../../../src/order/payment/webhook/purge-events.ts";
import { createWebhooks } from "../../../../../src/order/payment/webhook/webhooks.ts";
import { silentLog } from "../../../../support/log.ts";
import {
  createScriptedGateway,
  SIGNED,
  scriptedEvent,
} from "../../../../support/payments/scripted-gateway.ts";
import { type LogLine, recordingLog } from "../../../../support/rpc/rpc-server.ts";
import { createTestDatabase, type TestDatabase } from "../../../../support/stores/database.ts";

const START = Date.parse("2026-12-01T12:00:00Z");

let database: TestDatabase;
let db: Database;
let nowMs: number;
const clock = { now: () => new Date(nowMs) };

beforeAll(async () => {
  database = await createTestDatabase();
  const pool = { poolMax: 8, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  db = await openPostgres({ url: database.url, entities, log: silentLog, ...pool });
});
beforeEach(async () => {
  nowMs = START;
  await database.query("truncate webhook_event");
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

interface EventRow {
  event_id: string;
  outcome: string | null;
  attempts: number;
  last_error: string | null;
}

const readRows = () =>
  database.query<EventRow>(
    "select event_id, outcome, attempts, last_error from webhook_event order by event_id",
  );

/** Records reports and marks their webhooks as processed, unless `fail` returns an error. */
function recordingReports(fail: (report: Report) => Error | undefined = () => undefined) {
  const applied: Report[] = [];
  return {
    applied,
    async apply(report: Report) {
      const error = fail(report);
      if (error !== undefined) throw error;
      applied.push(report);
      await database.query(
        "update webhook_event set processed_at = now(), outcome = 'APPLIED' where event_id = $1",
        [report.eventId],
      );
      return { outcome: "APPLIED" as const, payment: undefined };
    },
  };
}

function openReceiver(reports = recordingReports(), log = silentLog) {
  const shared = { db, ids: createIds(), clock, log };
  const eventWriter = createEventWriter({ ...shared, statementTimeoutMs: 30_000, waitMs: 30_000 });
  const webhooks = createWebhooks({ ...shared, gateway: createScriptedGateway(), eventWriter, reports });
  const receive = (body: Buffer, headers = SIGNED) =>
    webhooks.receive({ gateway: "sandbox", headers, body }, new AbortController().signal);
  return { ...webhooks, receive, eventWriter, reports };
}

function openProcessor(reports = recordingReports(), log = silentLog) {
  const gateway = createScriptedGateway();
  return createEventProcessor({ db, gateway, reports, clock, log });
}

/** Stores webhooks that their process does not process. */
async function storeOnly(...bodies: Buffer[]): Promise<void> {
  const receiver = openReceiver(recordingReports(() => new Error("killed")));
  for (const body of bodies) await receiver.receive(body);
  await receiver.close();
}

describe("receiving", () => {
  test("a webhook is stored when its receipt is confirmed, and its report is applied afterwards", async () => {
    const stored: unknown[] = [];
    const reports = recordingReports();
    const receiver = openReceiver({
      ...reports,
      async apply(report) {
        stored.push(...(await readRows()));
        return reports.apply(report);
      },
    });
    const body = scriptedEvent("evt_1", "pi_1");
    expect(await receiver.receive(body)).toBe("STORED");
    const [row] = await database.query<{ body: Buffer }>("select body from webhook_event");
    expect(row?.body).toEqual(body);
    await receiver.close();
    expect(stored).toEqual([{ event_id: "evt_1", outcome: null, attempts: 0, last_error: null }]);
    expect(reports.applied).toEqual([
      {
        gateway: "sandbox",
        source: "WEBHOOK",
        eventId: "evt_1",
        statement: expect.objectContaining({ reference: "pi_1" }),
      },
    ]);
  });

  test("50 concurrent deliveries of a webhook by two replicas store and apply it once", async () => {
    const reports = recordingReports();
    const replicas = [openReceiver(reports), openReceiver(reports)];
    const body = scriptedEvent("evt_1", "pi_1");
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, index) => replicas[index % 2]?.receive(body)),
    );
    await Promise.all(replicas.map((replica) => replica.close()));
    expect(new Set(results)).toEqual(new Set(["STORED"]));
    expect(await readRows()).toHaveLength(1);
    expect(reports.applied).toHaveLength(1);
  });

  test("replicas that store the same webhooks in opposite orders store each once, and none fails", async () => {
    const reports = recordingReports();
    const replicas = [openReceiver(reports), openReceiver(reports)];
    const bodies = Array.from({ length: 100 }, (_, index) => scriptedEvent(`evt_${index}`, "pi_1"));
    await Promise.all(
      replicas.flatMap((replica, index) =>
        (index === 0 ? bodies : bodies.toReversed()).map((body) => replica.receive(body)),
      ),
    );
    await Promise.all(replicas.map((replica) => replica.close()));
    expect(await readRows()).toHaveLength(100);
    expect(reports.applied).toHaveLength(100);
  });

  test("concurrent webhooks share transactions", async () => {
    const receiver = openReceiver();
    const bodies = Array.from({ length: 200 }, (_, index) => scriptedEvent(`evt_${index}`));
    await Promise.all(bodies.map((body) => receiver.receive(body)));
    expect(await readRows()).toHaveLength(200);
    expect(receiver.eventWriter.stats().batches).toBeLessThanOrEqual(10);
  });

  test("a webhook that is not about money is stored as IGNORED and not applied", async () => {
    const receiver = openReceiver();
    expect(await receiver.receive(scriptedEvent("evt_1"))).toBe("STORED");
    await receiver.close();
    expect(await readRows()).toEqual([
      { event_id: "evt_1", outcome: "IGNORED", attempts: 0, last_error: null },
    ]);
    expect(receiver.reports.applied).toEqual([]);
  });

  test.each([
    ["a wrong signature", scriptedEvent("evt_1", "pi_1"), new Map([["signature", "forged"]])],
    ["no signature", scriptedEvent("evt_1", "pi_1"), new Map<string, string>()],
    ["a body that is not readable", Buffer.from("{"), SIGNED],
  ])("a webhook with %s is INVALID and not stored", async (_, body, headers) => {
    const receiver = openReceiver();
    expect(await receiver.receive(body, headers)).toBe("INVALID");
    expect(await readRows()).toEqual([]);
  });

  test("a webhook whose sender no longer waits is not stored, unless its transaction is sent", async () => {
    const { reports, eventWriter } = openReceiver();
    const gateway = createScriptedGateway();
    const webhooks = createWebhooks({ gateway, eventWriter, reports, clock, log: silentLog });
    const reason = new AppError("deadline_exceeded", "Too late.", { reason: "DEADLINE_EXCEEDED" });
    const webhook = { gateway: "sandbox", headers: SIGNED, body: scriptedEvent("evt_1", "pi_1") };
    await expect(webhooks.receive(webhook, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(await readRows()).toEqual([]);
  });
});

describe("processing", () => {
  test("a webhook that its process has not processed is processed 5 seconds later, once", async () => {
    await storeOnly(scriptedEvent("evt_1", "pi_1"));
    const reports = recordingReports();
    const processor = openProcessor(reports);
    nowMs = START + 4_999;
    expect(await processor.run(internalCall())).toBe(0);
    nowMs = START + 5_000;
    expect(await processor.run(internalCall())).toBe(1);
    nowMs += 3_600_000;
    expect(await processor.run(internalCall())).toBe(0);
    expect(reports.applied.map(({ eventId, source }) => [eventId, source])).toEqual([["evt_1", "WEBHOOK"]]);
    expect(await readRows()).toEqual([
      { event_id: "evt_1", outcome: "APPLIED", attempts: 1, last_error: null },
    ]);
  });

  test("two processes process each of 250 webhooks once", async () => {
    await storeOnly(...Array.from({ length: 250 }, (_, index) => scriptedEvent(`evt_${index}`, "pi_1")));
    nowMs = START + 5_000;
    const reports = recordingReports();
    const processors = [openProcessor(reports), openProcessor(reports)];
    const counts = await Promise.all(processors.map((processor) => processor.run(internalCall())));
    expect(counts).toEqual([100, 100]);
    expect(await processors[0]?.run(internalCall())).toBe(50);
    expect(new Set(reports.applied.map(({ eventId }) => eventId)).size).toBe(250);
    expect(reports.applied).toHaveLength(250);
  });

  test("a webhook that cannot be processed stays due with exponential backoff, and does not delay others", async () => {
    await storeOnly(scriptedEvent("evt_1", "pi_1"), scriptedEvent("evt_2", "pi_2"));
    const reports = recordingReports(({ eventId }) =>
      eventId === "evt_1" ? new Error("impossible\0 state") : undefined,
    );
    const processor = openProcessor(reports);
    const delays: number[] = [];
    for (let attempt = 1; attempt <= 12; attempt += 1) {
      const [row] = await database.query<{ retry_at: string }>(
        "select retry_at from webhook_event where processed_at is null",
      );
      const dueMs = new Date(row?.retry_at ?? 0).getTime();
      delays.push(dueMs - nowMs);
      nowMs = dueMs;
      expect(await processor.run(internalCall())).toBe(attempt === 1 ? 2 : 1);
    }
    expect(reports.applied.map(({ eventId }) => eventId)).toEqual(["evt_2"]);
    for (const [index, delay] of delays.entries()) {
      const mean = Math.min(5_000 * 2 ** index, 900_000);
      if (index > 0) expect(delay).toBeGreaterThanOrEqual(mean * 0.5);
      expect(delay).toBeLessThanOrEqual(mean * 1.5);
    }
    expect(await readRows()).toEqual([
      { event_id: "evt_1", outcome: null, attempts: 12, last_error: "impossible\uFFFD state" },
      { event_id: "evt_2", outcome: "APPLIED", attempts: 1, last_error: null },
    ]);
  });

  test("a stored webhook that can no longer be read is UNREADABLE and logged as an error", async () => {
    await storeOnly(scriptedEvent("evt_1", "pi_1"));
    await database.query("update webhook_event set body = '{'");
    nowMs = START + 5_000;
    const lines: LogLine[] = [];
    await openProcessor(recordingReports(), recordingLog(lines)).run(internalCall());
    expect(await readRows()).toEqual([
      { event_id: "evt_1", outcome: "UNREADABLE", attempts: 1, last_error: "The body is not JSON." },
    ]);
    expect(lines).toMatchObject([
      { level: "error", fields: { eventId: "evt_1" }, message: "Stored webhook not readable" },
    ]);
  });

  test("a webhook of a gateway that is not configured any more stays stored", async () => {
    await storeOnly(scriptedEvent("evt_1", "pi_1"));
    await database.query("update webhook_event set gateway = 'stripe'");
    nowMs = START + 5_000;
    await openProcessor().run(internalCall());
    expect(await readRows()).toEqual([
      {
        event_id: "evt_1",
        outcome: null,
        attempts: 1,
        last_error: "The gateway stripe is not configured. Set PAYMENT_GATEWAY to it.",
      },
    ]);
  });
});

test("webhooks that were processed more than 90 days ago are deleted; others stay", async () => {
  await storeOnly(...["old", "recent", "open"].map((id) => scriptedEvent(id, "pi_1")));
  const age = (id: string, interval: string) =>
    database.query(
      "update webhook_event set processed_at = now() - $2::interval, outcome = 'APPLIED' where event_id = $1",
      [id, interval],
    );
  await age("old", "90 days 1 second");
  await age("recent", "89 days 23 hours");
  await database.query(
    "update webhook_event set received_at = now() - interval '200 days' where event_id = 'open'",
  );
  await purgeEvents(db, internalCall());
  expect((await readRows()).map((row) => row.event_id)).toEqual(["open", "recent"]);
});
