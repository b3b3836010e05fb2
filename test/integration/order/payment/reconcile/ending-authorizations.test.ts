import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { internalCall } from "../../../../../src/kernel/call.ts";
import { systemClock } from "../../../../../src/kernel/clock.ts";
import { createAuthorizationAlarm } from "../../../../../src/order/payment/reconcile/ending-authorizations.ts";
import { placeOrder } from "../../../../support/orders/order-fixtures.ts";
import {
  insertPayment,
  type LedgerReplica,
  openLedger,
} from "../../../../support/payments/ledger-fixtures.ts";
import { type LogLine, recordingLog } from "../../../../support/rpc/rpc-server.ts";
import { startShop, type TestShop } from "../../../../support/shop.ts";

const HOUR_MS = 3_600_000;

let shop: TestShop;
let ledger: LedgerReplica;
beforeAll(async () => {
  shop = await startShop({ WORKERS: "0" });
  ledger = await openLedger(shop.database);
});
afterEach(() => shop.database.query("delete from payment"));
afterAll(async () => {
  await ledger.close();
  await shop.close();
});

/** Stores a payment whose authorization ends after a number of hours. */
async function insertEnding(hours: number, state = "AUTHORIZED"): Promise<string> {
  const { id: orderId } = await placeOrder(shop, [1n]);
  const { id } = await insertPayment(shop.database, orderId);
  await shop.database.query(
    "update payment set state = $2, capture_before = now() + $3 * interval '1 hour' where id = $1",
    [id, state, hours],
  );
  return id;
}

function openAlarm() {
  const lines: LogLine[] = [];
  const time = { aheadMs: 0 };
  const clock = { now: () => new Date(systemClock.now().getTime() + time.aheadMs) };
  const alarm = createAuthorizationAlarm({ db: ledger.db, clock, log: recordingLog(lines) });
  return { run: () => alarm.run(internalCall()), lines, time };
}

test("authorizations that end within 24 hours are logged as an error, those that end first first", async () => {
  const later = await insertEnding(23);
  const sooner = await insertEnding(2);
  const ended = await insertEnding(-1);
  await insertEnding(25);
  await insertEnding(2, "CAPTURED");
  const { run, lines } = openAlarm();
  await run();
  expect(lines).toEqual([
    {
      level: "error",
      fields: { paymentIds: [ended, sooner, later], count: 3, firstEndsAt: expect.any(String) },
      message: "Authorizations end soon",
    },
  ]);
});

test("the same authorizations are logged once an hour, and others immediately", async () => {
  await insertEnding(2);
  const { run, lines, time } = openAlarm();
  await run();
  await run();
  expect(lines).toHaveLength(1);
  const other = await insertEnding(3);
  await run();
  await run();
  expect(lines).toHaveLength(2);
  expect(lines[1]?.fields.paymentIds).toContain(other);
  time.aheadMs = HOUR_MS - 60_000;
  await run();
  expect(lines).toHaveLength(2);
  time.aheadMs = HOUR_MS + 60_000;
  await run();
  expect(lines).toHaveLength(3);
});

test("nothing is logged while no authorization ends soon", async () => {
  await insertEnding(25);
  const { run, lines } = openAlarm();
  await run();
  expect(lines).toEqual([]);
});
