import { createHash, hash } from "node:crypto";

/**
 * Returns JSON that is equal for equal values: keys are sorted, undefined properties are left out, bigints and dates
 * are written as text.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === "bigint") return { $int: item.toString() };
    if (item !== null && typeof item === "object" && !Array.isArray(item)) {
      return Object.fromEntries(Object.entries(item).sort(byKey));
    }
    return item;
  });
}

/** Returns the SHA-256 of the canonical JSON of a value, 32 bytes. Older versions stored it as fingerprint of requests. */
export function hashJson(value: unknown): Buffer {
  return hash("sha256", canonicalJson(value), "buffer");
}

/**
 * Returns the SHA-256 of the fields of a request that are set, 32 bytes. So a field that is added later does not change
 * the fingerprints of requests without it. A number counts as set, even if it is 0.
 */
export function fingerprint(request: unknown): Buffer {
  return hash("sha256", encodeSetFields(request) ?? "", "buffer");
}

/** The fields of requests that are maps. An entry of a map is content, also with an empty value. */
const MAPS: ReadonlySet<string> = new Set(["attributes"]);

/**
 * Returns JSON that is equal for equal values, in one pass; undefined for a value that counts as not set: an empty text,
 * list or object, one of fields that are not set, false and null.
 */
function encodeSetFields(value: unknown): string | undefined {
  if (typeof value === "string") return value === "" ? undefined : JSON.stringify(value);
  if (typeof value === "bigint") return `{"$int":"${value}"}`;
  if (value === undefined || value === null || value === false) return undefined;
  if (typeof value !== "object" || value instanceof Date) return JSON.stringify(value);
  if (Array.isArray(value)) {
    return value.length === 0
      ? undefined
      : `[${value.map((item) => encodeSetFields(item) ?? "null").join()}]`;
  }
  let fields = "";
  for (const key of Object.keys(value).sort()) {
    const item: unknown = Reflect.get(value, key);
    const isMap = MAPS.has(key) && Object.keys(item ?? {}).length > 0;
    const encoded = isMap ? canonicalJson(item) : encodeSetFields(item);
    if (encoded !== undefined) fields += `${fields === "" ? "" : ","}${JSON.stringify(key)}:${encoded}`;
  }
  return fields === "" ? undefined : `{${fields}}`;
}

const byKey = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : a > b ? 1 : 0);

/** Returns a short hash of encoded content, 20 characters of base64url. */
export function contentHash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64url").slice(0, 20);
}
