import { afterEach, beforeEach, expect, test } from "vitest";
import { InvalidWebhookError } from "../../../../src/infra/payment/payment-gateway.ts";
import { readWebhookSecrets, type Sandbox } from "../../../../src/infra/payment/sandbox/sandbox.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { openSandbox, type SandboxFixture, verify } from "../../../support/payments/sandbox-fixture.ts";
import type { ReceivedWebhook } from "../../../support/payments/webhook-receiver.ts";

let fixture: SandboxFixture;

beforeEach(async () => {
  fixture = await openSandbox();
});
afterEach(() => fixture.close());

/** Creates a payment, lets a sandbox deliver its webhook, and returns that. */
async function deliverOne(sandbox: Sandbox): Promise<ReceivedWebhook> {
  await fixture.create("sandbox_ok");
  const delivery = sandbox.deliverTo(fixture.receiver.url);
  await expect.poll(async () => (await fixture.undelivered()).length).toBe(0);
  await delivery.close();
  const [webhook] = fixture.receiver.received.splice(0);
  if (webhook === undefined) throw new Error("a webhook must be received");
  return webhook;
}

test("all secrets are valid while they are rotated, and the newest one signs", async () => {
  const [old = ""] = fixture.secrets;
  await fixture.database.query("insert into secret (name, value) values ('sandbox-webhook/1', $1)", [
    Buffer.alloc(32, 1),
  ]);
  const secrets = await readWebhookSecrets(fixture.db, internalCall());
  expect(secrets).toEqual([Buffer.alloc(32, 1).toString("hex"), old]);
  const rotated = fixture.open({ secrets });
  const byOld = await deliverOne(fixture.open());
  const byNew = await deliverOne(rotated);
  expect(verify(rotated, byOld, fixture.clock).type).toBe("payment.authorized");
  expect(verify(rotated, byNew, fixture.clock).type).toBe("payment.authorized");
  expect(() => verify(fixture.sandbox, byNew, fixture.clock)).toThrow("No secret matches");
});

test("the secret is created once, for all processes", async () => {
  const reads = await Promise.all([1, 2, 3].map(() => readWebhookSecrets(fixture.db, internalCall())));
  expect(reads).toEqual([fixture.secrets, fixture.secrets, fixture.secrets]);
  expect(fixture.secrets[0]).toMatch(/^[\da-f]{64}$/);
});

test("a changed body, a missing header and an old timestamp are rejected", async () => {
  const webhook = await deliverOne(fixture.sandbox);
  const { sandbox, clock } = fixture;
  const changed = Buffer.from(webhook.body.toString().replace('"1000"', '"1001"'));
  expect(changed.equals(webhook.body)).toBe(false);
  expect(() => verify(sandbox, { ...webhook, body: changed }, clock)).toThrow("No secret matches");
  expect(() => verify(sandbox, { ...webhook, headers: {} }, clock)).toThrow("has no signature");
  clock.advance(5 * 60_000 - 1_000);
  expect(verify(sandbox, webhook, clock).type).toBe("payment.authorized");
  clock.advance(2_001);
  expect(() => verify(sandbox, webhook, clock)).toThrow("more than 5 minutes");
});

test("a stored body that is no event of the sandbox is not read", async () => {
  const text = (await deliverOne(fixture.sandbox)).body.toString();
  expect(fixture.sandbox.readWebhook(Buffer.from(text)).report?.facts).toHaveLength(1);
  const changed = [
    "{",
    "{}",
    text.replace('"AUTHORIZED"', '"STOLEN"'),
    text.replace('"1000"', "1e3"),
    text.replace('"EUR"', '"eur"'),
  ];
  for (const body of changed) {
    expect(body).not.toBe(text);
    expect(() => fixture.sandbox.readWebhook(Buffer.from(body))).toThrow(InvalidWebhookError);
  }
});
