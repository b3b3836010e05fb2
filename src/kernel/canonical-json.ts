import { createHash } from "node:crypto";

/**
 * One text for one value: keys sorted, absent and undefined alike, bigints and dates written out. Two
 * requests that mean the same have the same text.
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

/** SHA-256 of the canonical text, 32 bytes. */
export function fingerprint(value: unknown): Buffer {
  return createHash("sha256").update(canonicalJson(value)).digest();
}

/** A short name for encoded content: the same for the same bytes. */
export function contentHash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64url").slice(0, 20);
}
