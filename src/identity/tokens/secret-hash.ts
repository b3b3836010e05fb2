import { createHash } from "node:crypto";

/** What is kept of a token or an API key, 32 bytes: they are random, so that nothing slower is needed. */
export function hashSecret(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
