import { signWebhook } from "../../../src/infra/payment/webhook-signature.ts";
import type { FakeEvent } from "./fake-objects.ts";

/** A webhook as it is sent. */
export interface FakeWebhook {
  headers: Record<string, string>;
  body: Buffer;
}

/** Returns the request that delivers an event. */
export function webhookOf(event: FakeEvent, secret: string, time: Date): FakeWebhook {
  const body = Buffer.from(JSON.stringify(event, null, 2));
  const headers = {
    "content-type": "application/json; charset=utf-8",
    "stripe-signature": signWebhook(body, secret, time),
  };
  return { headers, body };
}

/** Sends a webhook, and returns the status of the response. */
export async function sendWebhook(url: string, { headers, body }: FakeWebhook): Promise<number> {
  const response = await fetch(url, { method: "POST", headers, body });
  await response.arrayBuffer();
  return response.status;
}
