import { createHmac } from "node:crypto";
import Stripe from "stripe";
import { describe, expect, test } from "vitest";
import { InvalidWebhookError } from "../../../../src/infra/payment/payment-gateway.ts";
import { signWebhook, verifyWebhookSignature } from "../../../../src/infra/payment/webhook-signature.ts";

const now = new Date("2026-12-01T12:00:00Z");
const body = Buffer.from('{"id":"evt_1","amount":1000}');
const at = (offsetMs: number) => new Date(now.getTime() + offsetMs);

function verify(header: string | undefined, secrets = ["new", "old"], sent = body): () => void {
  return () => verifyWebhookSignature({ header, body: sent, secrets, now });
}

describe("verifyWebhookSignature", () => {
  test("signatures of each secret are valid while they are rotated, and none afterwards", () => {
    expect(verify(signWebhook(body, "new", now))).not.toThrow();
    expect(verify(signWebhook(body, "old", now))).not.toThrow();
    expect(verify(signWebhook(body, "old", now), ["new"])).toThrow("No secret matches");
    expect(verify(signWebhook(body, "new", now), [])).toThrow("No secret matches");
  });

  test("one of several signatures is enough, as Stripe sends them while it rotates", () => {
    const [time, ours] = signWebhook(body, "new", now).split(",");
    const other = "0".repeat(64);
    expect(verify(`${time},v1=${other},${ours},v0=${other}`)).not.toThrow();
    expect(verify(`${time},v1=${other},v0=${ours?.slice(3)}`)).toThrow("No secret matches");
  });

  test("the package of Stripe accepts our signature, and its signature is valid", () => {
    const header = signWebhook(body, "new", now);
    const seconds = Math.floor(now.getTime() / 1_000);
    expect(Stripe.webhooks.signature?.verifyHeader(body, header, "new", 0, undefined, now.getTime())).toBe(
      true,
    );
    const theirs = Stripe.webhooks.generateTestHeaderString({
      payload: body.toString(),
      secret: "old",
      timestamp: seconds,
    });
    expect(verify(theirs)).not.toThrow();
  });

  test.each([
    { name: "a changed byte", sent: Buffer.from('{"id":"evt_1","amount":9000}') },
    { name: "a truncated body", sent: body.subarray(0, -1) },
    { name: "an added byte", sent: Buffer.concat([body, Buffer.from("\n")]) },
    { name: "no body", sent: Buffer.alloc(0) },
    { name: "the same JSON with other spaces", sent: Buffer.from('{"id": "evt_1", "amount": 1000}') },
  ])("$name is refused", ({ sent }) => {
    expect(verify(signWebhook(body, "new", now), ["new"], sent)).toThrow(InvalidWebhookError);
  });

  test("bytes that are no UTF-8 are signed as they are", () => {
    const raw = Buffer.from([0xff, 0xfe, 0x00]);
    const replaced = Buffer.from(raw.toString("utf8"));
    expect(verify(signWebhook(raw, "new", now), ["new"], raw)).not.toThrow();
    expect(verify(signWebhook(replaced, "new", now), ["new"], raw)).toThrow("No secret matches");
  });

  test.each([
    { offsetMs: -300_000, isValid: true },
    { offsetMs: -301_000, isValid: false },
    { offsetMs: 300_000, isValid: true },
    { offsetMs: 301_000, isValid: false },
    { offsetMs: -86_400_000, isValid: false },
  ])("a timestamp $offsetMs ms away is valid: $isValid", ({ offsetMs, isValid }) => {
    const check = verify(signWebhook(body, "new", at(offsetMs)));
    if (isValid) expect(check).not.toThrow();
    else expect(check).toThrow("more than 5 minutes");
  });

  test("the timestamp is part of what is signed", () => {
    const [, signature] = signWebhook(body, "new", at(-86_400_000)).split(",");
    expect(verify(`t=${Math.floor(now.getTime() / 1_000)},${signature}`)).toThrow("No secret matches");
  });

  const hex = createHmac("sha256", "new").update(body).digest("hex");
  test.each([
    { name: "no header", header: undefined },
    { name: "an empty header", header: "" },
    { name: "no timestamp", header: `v1=${hex}` },
    { name: "two timestamps", header: `t=1,t=2,v1=${hex}` },
    { name: "a timestamp that is no number", header: `t=1e9,v1=${hex}` },
    { name: "no signature", header: "t=1" },
    { name: "a short signature", header: `t=1,v1=${hex.slice(2)}` },
    { name: "a signature that is no hex", header: `t=1,v1=${"z".repeat(64)}` },
    { name: "a long header", header: `t=1,${`v1=${hex},`.repeat(100)}` },
  ])("$name is refused", ({ header }) => {
    expect(verify(header)).toThrow(InvalidWebhookError);
  });

  test("at most eight signatures are compared", () => {
    const [time, ours] = signWebhook(body, "new", now).split(",");
    const others = Array.from({ length: 8 }, () => `v1=${"0".repeat(64)}`);
    expect(verify([time, ...others.slice(1), ours].join(","))).not.toThrow();
    expect(verify([time, ...others, ours].join(","))).toThrow("No secret matches");
  });
});
