import { createHash } from "node:crypto";

/**
 * Returns JSON that is equal for equal values: keys are sorted, undefined properties are left out, bigints and dates
 * are written as text.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === "bigint") return { $int: item.toString() };
    if (item !== null && typeof item === "object" && !Array.isArray(item)) {
      return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
    }
    return item;
  });
}

/** Returns the SHA-256 of the canonical JSON, 32 bytes. */
export function fingerprint(value: unknown): Buffer {
  return createHash("sha256").update(canonicalJson(value)).digest();
}

/** Returns a short hash of encoded content, 20 characters of base64url. */
export function contentHash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64url").slice(0, 20);
}
