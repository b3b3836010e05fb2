import { createHash } from "node:crypto";

/** Returns the SHA-256 hash under which a refresh token or API key is stored: they are random, so no slow hash is needed. */
export function hashSecret(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
