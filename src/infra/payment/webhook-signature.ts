import { createHmac, timingSafeEqual } from "node:crypto";
import { InvalidWebhookError } from "./payment-gateway.ts";

/** Age, or time in the future, from which a webhook is refused. */
const MAX_SKEW_MS = 5 * 60_000;
const MAX_HEADER_LENGTH = 2_000;
/** Signatures of one webhook: one for each secret of the sender. */
const MAX_SIGNATURES = 8;

/** Returns the header `t=<seconds>,v1=<hex>` with the HMAC-SHA256 of the time and the body, as Stripe and the sandbox send it. */
export function signWebhook(body: Buffer, secret: string, time: Date): string {
  const timestamp = String(Math.floor(time.getTime() / 1_000));
  return `t=${timestamp},v1=${digest(timestamp, body, secret).toString("hex")}`;
}

/**
 * Verifies the signature of a webhook over its raw body. The comparison takes the same time for all signatures.
 * @param secrets several while they are rotated
 * @throws InvalidWebhookError when no secret matches, or the timestamp is more than 5 minutes away from `now`
 */
export function verifyWebhookSignature({
  header,
  body,
  secrets,
  now,
}: {
  header: string | undefined;
  body: Buffer;
  secrets: readonly string[];
  now: Date;
}): void {
  const { timestamp, signatures } = readHeader(header);
  const isSigned = secrets
    .map((secret) => digest(timestamp, body, secret))
    .some((expected) => signatures.some((signature) => timingSafeEqual(signature, expected)));
  if (!isSigned) throw new InvalidWebhookError("No secret matches the signature of the webhook.");
  if (Math.abs(now.getTime() - Number(timestamp) * 1_000) > MAX_SKEW_MS) {
    throw new InvalidWebhookError("The timestamp of the webhook is more than 5 minutes away.");
  }
}

/** Returns the timestamp in seconds and the signatures of 32 bytes each; other parts of the header are ignored. */
function readHeader(header: string | undefined): { timestamp: string; signatures: Buffer[] } {
  if (header === undefined) throw new InvalidWebhookError("The webhook has no signature.");
  if (header.length > MAX_HEADER_LENGTH) {
    throw new InvalidWebhookError("The header of the signature is too long.");
  }
  const parts = header.split(",").map((part) => part.trim());
  const times = parts.flatMap((part) => /^t=(\d{1,12})$/.exec(part)?.[1] ?? []);
  const signatures = parts.flatMap((part) => /^v1=([0-9a-f]{64})$/.exec(part)?.[1] ?? []);
  const [timestamp] = times;
  if (timestamp === undefined || times.length !== 1 || signatures.length === 0) {
    throw new InvalidWebhookError("The header of the signature has no timestamp or no signature.");
  }
  return {
    timestamp,
    signatures: signatures.slice(0, MAX_SIGNATURES).map((signature) => Buffer.from(signature, "hex")),
  };
}

function digest(timestamp: string, body: Buffer, secret: string): Buffer {
  return createHmac("sha256", secret).update(`${timestamp}.`).update(body).digest();
}
