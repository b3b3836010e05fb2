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

/**
 * Returns the SHA-256 of the canonical JSON of a request, 32 bytes. Properties that are not set do not enter it, so that
 * a field that is added later does not change the fingerprints of requests without it. A number counts as set, even if
 * it is 0.
 */
export function fingerprint(request: unknown): Buffer {
  return hashJson(withoutEmptyFields(request));
}

/** Returns the SHA-256 of the canonical JSON of a value, 32 bytes. Older versions stored it as fingerprint of requests. */
export function hashJson(value: unknown): Buffer {
  return createHash("sha256").update(canonicalJson(value)).digest();
}

/** The fields of requests that are maps. An entry of a map is content, also with an empty value. */
const MAPS: ReadonlySet<string> = new Set(["attributes"]);

/** Returns a value without properties that are empty: texts, lists and objects without content, false and null. */
function withoutEmptyFields(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmptyFields);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  const entries = Object.entries(value).map(
    ([key, item]) => [key, MAPS.has(key) ? item : withoutEmptyFields(item)] as const,
  );
  return Object.fromEntries(entries.filter(([, item]) => !isEmpty(item)));
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === "" || value === false) return true;
  return typeof value === "object" && !(value instanceof Date) && Object.keys(value).length === 0;
}

/** Returns a short hash of encoded content, 20 characters of base64url. */
export function contentHash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64url").slice(0, 20);
}
