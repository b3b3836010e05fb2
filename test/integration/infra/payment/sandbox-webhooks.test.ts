import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Sandbox } from "../../../../src/infra/payment/sandbox/sandbox.ts";
import {
  LEASE_MS,
  MAX_ATTEMPTS,
  MAX_CONNECTIONS,
  MAX_WAITING,
  type WebhookDelivery,
} from "../../../../src/infra/payment/sandbox/webhook/delivery.ts";
import type { Log } from "../../../../src/kernel/log.ts";
import { silentLog } from "../../../support/log.ts";
import { eur } from "../../../support/payments/gateway-under-test.ts";
import {
  createWith,
  NO_LIMITS,
  openSandbox,
  referenceOf,
  type SandboxFixture,
} from "../../../support/payments/sandbox-fixture.ts";
import { startWebhookReceiver } from "../../../support/payments/webhook-receiver.ts";
import { createSelfSignedCertificate } from "../../../support/rpc/self-signed-certificate.ts";

let fixture: SandboxFixture;
let deliveries: WebhookDelivery[];

beforeEach(async () => {
  fixture = await openSandbox();
  deliveries = [];
});
afterEach(async () => {
  for (const delivery of deliveries) await delivery.close();
  await fixture.close();
});

/** Lets a sandbox deliver to an address, that of the receiver by default. */
function deliver(sandbox: Sandbox, url = fixture.receiver.url): WebhookDelivery {
  const delivery = sandbox.deliverTo(url);
  deliveries.push(delivery);
  return delivery;
}

const receivedIds = () => fixture.events().map(({ id }) => id);
const typesOf = () => fixture.events().map(({ type }) => type);
const untilDelivered = () => expect.poll(async () => (await fixture.undelivered()).length).toBe(0);
/** Creates payments whose events stay undelivered. */
const createMany = (count: number, sandbox = fixture.sandbox) =>
  Promise.all(Array.from({ length: count }, () => createWith(sandbox, "sandbox_ok")));

/** Returns a promise that holds responses back, and the function that sends them. */
function holdResponses(): () => void {
  const { promise, resolve } = Promise.withResolvers<number>();
  fixture.receiver.respond = () => promise;
  return () => {
    fixture.receiver.respond = () => 200;
    resolve(200);
  };
}

describe("delivery", () => {
  test("each event is posted once over a few connections, signed, with its fact", async () => {
    deliver(fixture.sandbox);
    const reports = await createMany(100);
    await untilDelivered();
    const { received, connections } = fixture.receiver;
    expect(received.length).toBe(100);
    expect(new Set(receivedIds()).size).toBe(100);
    expect(connections).toBeLessThanOrEqual(MAX_CONNECTIONS);
    expect(received[0]).toMatchObject({
      path: "/webhooks/sandbox",
      headers: { "content-type": "application/json", connection: "keep-alive" },
    });
    const stated = new Map(fixture.events().map(({ report }) => [report?.paymentId, report]));
    for (const { paymentId, reference, amount, captureBefore, facts } of reports) {
      expect(stated.get(paymentId)).toEqual({ paymentId, reference, amount, captureBefore, facts });
    }
  });

  test("the events of a payment arrive in their order, also after a restart", async () => {
    const created = await fixture.create("sandbox_dispute_won");
    const amount = eur(1_000n);
    const target = referenceOf(created);
    await fixture.sandbox.capture({ ...target, captureId: randomUUID(), amount, isFinal: true }, NO_LIMITS);
    await fixture.sandbox.refund({ ...target, refundId: randomUUID(), amount }, NO_LIMITS);
    await fixture.create("sandbox_declined");
    const send = holdResponses();
    deliver(fixture.open());
    // The events of another payment do not wait for a response to the first one.
    await expect.poll(typesOf).toEqual(["payment.authorized", "payment.failed"]);
    send();
    await untilDelivered();
    expect(typesOf().filter((type) => type !== "payment.failed")).toEqual([
      "payment.authorized",
      "payment.captured",
      "dispute.opened",
      "dispute.won",
      "refund.succeeded",
    ]);
  });

  test("events are posted over TLS to a server whose certificate no authority has signed", async () => {
    const secure = await startWebhookReceiver(createSelfSignedCertificate());
    const delivery = deliver(fixture.sandbox, secure.url);
    await createMany(20);
    await untilDelivered();
    await delivery.close();
    await secure.close();
    expect(secure.received.length).toBe(20);
  });

  test("two processes deliver what was left undelivered, each event once", async () => {
    await createMany(300);
    deliver(fixture.open());
    deliver(fixture.open());
    await untilDelivered();
    expect(new Set(receivedIds()).size).toBe(300);
    expect(fixture.receiver.received.length).toBe(300);
  });

  test("the event of an authorization without a response is due a second later", async () => {
    deliver(fixture.sandbox);
    // Long enough for the creation to be sent: one whose time has passed before is not.
    const limits = { ...NO_LIMITS, timeoutMs: 1_000 };
    await expect(fixture.create("sandbox_timeout", { limits })).rejects.toMatchObject({ kind: "UNKNOWN" });
    const createdAt = fixture.clock.now();
    await expect.poll(() => fixture.undelivered()).toHaveLength(1);
    const [event] = await fixture.undelivered();
    expect(event?.due_at).toEqual(new Date(createdAt.getTime() + 1_000));
    expect(event?.attempts).toBe(0);
    fixture.clock.advance(999);
    await fixture.create("sandbox_ok");
    await expect.poll(typesOf).toEqual(["payment.authorized"]);
    expect((await fixture.undelivered()).map(({ id }) => id)).toContain(event?.id);
    fixture.clock.advance(1);
    await untilDelivered();
    expect(receivedIds()).toContain(event?.id);
  });
});

describe("retries", () => {
  test.each([
    ["an error", () => 500],
    ["a redirect", () => 302],
    ["a closed connection", () => "CLOSE" as const],
  ])("an event is sent again after %s, later each time", async (_, respond) => {
    fixture.receiver.respond = respond;
    deliver(fixture.sandbox);
    await fixture.create("sandbox_ok");
    const delayOf = async () =>
      ((await fixture.undelivered())[0]?.due_at.getTime() ?? 0) - fixture.clock.now().getTime();
    for (const [attempt, baseMs] of [500, 1_000, 2_000].entries()) {
      await expect.poll(() => fixture.receiver.received.length).toBe(attempt + 1);
      // Until the outcome is stored, the event is leased.
      await expect.poll(delayOf).not.toBe(LEASE_MS);
      const delayMs = await delayOf();
      expect(delayMs).toBeGreaterThanOrEqual(baseMs / 2);
      expect(delayMs).toBeLessThanOrEqual(baseMs * 1.5);
      if (attempt === 2) fixture.receiver.respond = () => 200;
      fixture.clock.advance(delayMs);
    }
    await untilDelivered();
    expect(fixture.receiver.received.length).toBe(4);
    expect(new Set(receivedIds()).size).toBe(1);
  });

  test("an event that is not accepted does not delay the others", async () => {
    deliver(fixture.sandbox);
    fixture.receiver.respond = () => 503;
    await fixture.create("sandbox_ok");
    await expect.poll(() => fixture.receiver.received.length).toBe(1);
    fixture.receiver.respond = () => 200;
    await createMany(20);
    await expect.poll(async () => (await fixture.undelivered()).length).toBe(1);
  });

  test("an event is given up after the last attempt, and logged", async () => {
    const errors: string[] = [];
    const log: Log = { ...silentLog, error: (_, message) => void errors.push(message) };
    fixture.receiver.respond = () => 500;
    await createMany(2);
    await fixture.database.query(
      "update sandbox_event set attempts = $1 where id = (select min(id) from sandbox_event)",
      [MAX_ATTEMPTS - 1],
    );
    deliver(fixture.open({ log }));
    await expect.poll(async () => (await fixture.undelivered()).length).toBe(1);
    expect(errors).toEqual(["Webhook of the sandbox given up"]);
    expect((await fixture.undelivered())[0]?.attempts).toBe(1);
  });

  test("an event of a process that was killed is delivered when its lease has ended", async () => {
    const send = holdResponses();
    deliver(fixture.sandbox);
    await fixture.create("sandbox_ok");
    await expect.poll(() => fixture.receiver.received.length).toBe(1);
    // The process has received no response and stores no outcome: the other one has only the row.
    const other = fixture.open();
    deliver(other);
    await createWith(other, "sandbox_ok");
    await expect.poll(() => fixture.receiver.received.length).toBe(2);
    fixture.clock.advance(LEASE_MS);
    await expect.poll(() => fixture.receiver.received.length).toBeGreaterThanOrEqual(3);
    send();
    await untilDelivered();
    expect(new Set(receivedIds()).size).toBe(2);
  });

  test("events that wait at a shutdown are due immediately afterwards", async () => {
    const send = holdResponses();
    const delivery = deliver(fixture.sandbox);
    await createMany(MAX_CONNECTIONS + 12);
    await expect.poll(() => fixture.receiver.received.length).toBe(MAX_CONNECTIONS);
    const closed = delivery.close();
    send();
    await closed;
    const left = await fixture.undelivered();
    expect(left.map(({ due_at }) => due_at)).toEqual(Array.from({ length: 12 }, () => fixture.clock.now()));
    deliver(fixture.open());
    await untilDelivered();
    expect(new Set(receivedIds()).size).toBe(MAX_CONNECTIONS + 12);
    expect(fixture.receiver.received.length).toBe(MAX_CONNECTIONS + 12);
  });

  test("events beyond those that wait in memory are delivered when their leases have ended", async () => {
    const send = holdResponses();
    deliver(fixture.sandbox);
    await createMany(MAX_CONNECTIONS);
    await expect.poll(() => fixture.receiver.received.length).toBe(MAX_CONNECTIONS);
    await createMany(MAX_WAITING + 500);
    send();
    const countUndelivered = async () => (await fixture.undelivered()).length;
    // The requests whose responses were held back may have ended by their timeout.
    await expect.poll(countUndelivered).toBeLessThanOrEqual(500 + MAX_CONNECTIONS);
    expect(await countUndelivered()).toBeGreaterThanOrEqual(500);
    fixture.clock.advance(LEASE_MS);
    await untilDelivered();
    expect(new Set(receivedIds()).size).toBe(MAX_CONNECTIONS + MAX_WAITING + 500);
  });

  test("an event is sent again when the server does not respond in time", async () => {
    const send = holdResponses();
    deliver(fixture.sandbox);
    await fixture.create("sandbox_ok");
    await expect
      .poll(async () => (await fixture.undelivered())[0]?.due_at)
      .not.toEqual(new Date(fixture.clock.now().getTime() + LEASE_MS));
    send();
    fixture.clock.advance(1_000);
    await untilDelivered();
    expect(new Set(receivedIds()).size).toBe(1);
    expect(fixture.receiver.received.length).toBe(2);
  });
});
