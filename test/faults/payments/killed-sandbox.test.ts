import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LEASE_MS } from "../../../src/infra/payment/sandbox/webhook/delivery.ts";
import {
  factsOf,
  NO_LIMITS,
  openSandbox,
  type SandboxFixture,
} from "../../support/payments/sandbox-fixture.ts";

const script = fileURLToPath(new URL("../../support/payments/sandbox-process.ts", import.meta.url));
/** Webhooks that are accepted before the receiver holds the others back. */
const ACCEPTED = 100;
/** Payments that are created before the process is killed. */
const CREATED = 300;

let fixture: SandboxFixture;

beforeAll(async () => {
  fixture = await openSandbox();
});
afterAll(() => fixture.close());

test("payments and webhooks of a process that is killed with SIGKILL survive it", async () => {
  const { promise: forever } = Promise.withResolvers<number>();
  fixture.receiver.respond = () => (fixture.receiver.received.length <= ACCEPTED ? 200 : forever);
  const child = spawn(process.execPath, [script, fixture.database.url, fixture.receiver.url], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const created: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    created.push(line);
    if (created.length === CREATED) child.kill("SIGKILL");
  }
  await exited;
  expect((await fixture.undelivered()).length).toBeGreaterThan(0);

  // The webhooks that got no response are not delivered.
  fixture.receiver.received.splice(ACCEPTED);
  fixture.receiver.respond = () => 200;
  fixture.clock.advance(2 * LEASE_MS);
  const delivery = fixture.open().deliverTo(fixture.receiver.url);
  await expect.poll(async () => (await fixture.undelivered()).length).toBe(0);
  await delivery.close();

  const rows = await fixture.database.query<{ payment_id: string }>("select payment_id from sandbox_payment");
  const eventIds = Map.groupBy(fixture.events(), ({ report }) => report?.paymentId);
  expect(rows.map(({ payment_id }) => payment_id)).toEqual(expect.arrayContaining(created));
  for (const { payment_id: paymentId } of rows) {
    const payment = await fixture.sandbox.fetch({ paymentId, reference: "" }, NO_LIMITS);
    expect(payment && factsOf(payment)).toEqual([["CAPTURED", 1_000n]]);
    expect(new Set(eventIds.get(paymentId)?.map(({ id }) => id)).size).toBe(1);
  }
});
