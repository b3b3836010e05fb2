import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { signWebhook } from "../../../src/infra/payment/webhook-signature.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

const MEBIBYTE = 1024 * 1024;
const OLD = "whsec_before_the_rotation";
const NEW = "whsec_after_the_rotation";
const env = (secrets: string) => ({
  WORKERS: "0",
  PAYMENT_GATEWAY: "stripe",
  STRIPE_SECRET_KEY: "sk_test_unused",
  STRIPE_WEBHOOK_SECRET: secrets,
});

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop(env(`${NEW},${OLD}`));
});
afterEach(() => shop.database.query("truncate webhook_event"));
afterAll(() => shop.close());

/** Returns the body of an event that is stored and has nothing to apply, with this number of bytes at least. */
function eventBody(id: string, bytes = 0): Buffer {
  const event = {
    id,
    object: "event",
    type: "customer.created",
    created: 1_796_000_000,
    data: { object: {} },
  };
  const length = JSON.stringify(event).length;
  return Buffer.from(JSON.stringify(event) + " ".repeat(Math.max(0, bytes - length)));
}

/** Posts a webhook with its signature of `secondsAgo`, and returns the status. */
async function post(
  { url }: TestShop,
  body: Buffer,
  { secret = NEW, secondsAgo = 0, signed = body, header = "" } = {},
): Promise<number> {
  const signature = header || signWebhook(signed, secret, new Date(Date.now() - secondsAgo * 1_000));
  const response = await fetch(`${url}/webhooks/stripe`, {
    method: "POST",
    headers: { "stripe-signature": signature, "content-type": "application/json" },
    body,
  });
  await response.arrayBuffer();
  return response.status;
}

const storedIds = async ({ database }: TestShop) =>
  (await database.query<{ id: string }>("select event_id as id from webhook_event order by id")).map(
    ({ id }) => id,
  );

describe("a webhook with a valid signature", () => {
  test("is stored once, however often it is replayed, concurrently and afterwards", async () => {
    const body = eventBody("evt_1");
    const header = signWebhook(body, NEW, new Date());
    const statuses = await Promise.all(Array.from({ length: 40 }, () => post(shop, body, { header })));
    statuses.push(await post(shop, body, { header }), await post(shop, body));
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(await storedIds(shop)).toEqual(["evt_1"]);
  });

  test("is accepted with each secret while they are rotated, and with the new one alone afterwards", async () => {
    expect(await post(shop, eventBody("evt_old"), { secret: OLD })).toBe(200);
    expect(await post(shop, eventBody("evt_new"), { secret: NEW })).toBe(200);
    expect(await storedIds(shop)).toEqual(["evt_new", "evt_old"]);
    const rotated = await startShop(env(NEW));
    expect(await post(rotated, eventBody("evt_old"), { secret: OLD })).toBe(400);
    expect(await post(rotated, eventBody("evt_new"), { secret: NEW })).toBe(200);
    expect(await storedIds(rotated)).toEqual(["evt_new"]);
    await rotated.close();
  });

  test("is accepted with 1 MiB, and with 4 minutes of age", async () => {
    expect(await post(shop, eventBody("evt_large", MEBIBYTE))).toBe(200);
    expect(await post(shop, eventBody("evt_late"), { secondsAgo: 240 })).toBe(200);
    expect(await storedIds(shop)).toEqual(["evt_large", "evt_late"]);
  });
});

test.each<[string, number, () => Promise<number>]>([
  ["the signature of another secret", 400, () => post(shop, eventBody("evt_1"), { secret: "whsec_other" })],
  [
    "the signature of another body",
    400,
    () => post(shop, eventBody("evt_1"), { signed: eventBody("evt_2") }),
  ],
  ["a malformed signature", 400, () => post(shop, eventBody("evt_1"), { header: "t=now,v1=00" })],
  ["a replay after 5 minutes", 400, () => post(shop, eventBody("evt_1"), { secondsAgo: 302 })],
  ["a timestamp of the future", 400, () => post(shop, eventBody("evt_1"), { secondsAgo: -302 })],
  [
    "a truncated body",
    400,
    () => post(shop, eventBody("evt_1").subarray(0, -1), { signed: eventBody("evt_1") }),
  ],
  ["a signed body that is not JSON", 400, () => post(shop, Buffer.from("{"))],
  ["one byte more than 1 MiB", 413, () => post(shop, eventBody("evt_1", MEBIBYTE + 1))],
])("a webhook with %s gets %i and is not stored", async (_, status, send) => {
  expect(await send()).toBe(status);
  expect(await storedIds(shop)).toEqual([]);
});

test("a webhook whose connection ends within its body is not stored, and its sender can repeat it", async () => {
  const body = eventBody("evt_1");
  const { hostname, port } = new URL(shop.url);
  const socket = connect(Number(port), hostname);
  socket.write(
    `POST /webhooks/stripe HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n` +
      `Stripe-Signature: ${signWebhook(body, NEW, new Date())}\r\n\r\n`,
  );
  socket.end(body.subarray(0, 50));
  expect(await text(socket)).not.toContain("200 OK");
  expect(await storedIds(shop)).toEqual([]);
  expect(await post(shop, body)).toBe(200);
  expect(await storedIds(shop)).toEqual(["evt_1"]);
});

test("a webhook gets 503 while the database cannot store it, and is stored when it is repeated", async () => {
  const body = eventBody("evt_1");
  await shop.database.query("alter table webhook_event add constraint full_disk check (false)");
  expect(await post(shop, body)).toBe(503);
  await shop.database.query("alter table webhook_event drop constraint full_disk");
  expect(await post(shop, body)).toBe(200);
  expect(await storedIds(shop)).toEqual(["evt_1"]);
});
