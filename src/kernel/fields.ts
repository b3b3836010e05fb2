import { AppError, type FieldViolation, invalidField, quoted } from "./errors.ts";

/** Whether a field of a request was left out: an empty string, an empty map, or absent. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === "") return true;
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

/** Throws INVALID_ARGUMENT that names every path whose value is missing. */
export function assertPresent(values: Readonly<Record<string, unknown>>): void {
  const fields: FieldViolation[] = Object.keys(values)
    .filter((path) => isEmpty(values[path]))
    .map((field) => ({ field, description: "is required" }));
  if (fields.length === 0) return;
  throw new AppError("invalid", `${fields.map(({ field }) => field).join(", ")}: required but missing.`, {
    reason: "FIELD_REQUIRED",
    fields,
  });
}

/** What an update may change: contract names of fields, and the properties they stand for. */
export interface UpdatableFields<Key extends string> {
  /** The field of the request that holds the new values, such as `product`. */
  resource: string;
  fields: Readonly<Record<string, Key>>;
  /** Contract names of the fields that cannot be emptied. */
  required: ReadonlySet<string>;
}

/** Whether a field mask stands for all fields (AIP-134, AIP-157). */
export function isFullMask(mask: readonly string[]): boolean {
  return mask.length === 1 && mask[0] === "*";
}

/**
 * The properties that an update changes: those of the mask, all for "*" or, without a mask, those that are
 * not empty.
 * @throws INVALID_ARGUMENT for a path that cannot be changed or emptied, and when nothing is to change
 */
export function fieldsToUpdate<Key extends string>(
  { resource, fields, required }: UpdatableFields<Key>,
  input: Readonly<Record<Key, unknown>>,
  mask: readonly string[],
): Key[] {
  const allowed = Object.keys(fields).join(", ");
  const paths = isFullMask(mask) ? Object.keys(fields) : mask;
  const named = Object.entries(fields).filter(([path, key]) =>
    paths.length > 0 ? paths.includes(path) : !isEmpty(input[key]),
  );
  const unknown = paths.find((path) => !Object.hasOwn(fields, path));
  if (unknown !== undefined) {
    throw invalidField("update_mask", `cannot hold ${quoted(unknown)}. Name some of: ${allowed}.`);
  }
  if (named.length === 0) {
    throw invalidField("update_mask", `names nothing to change. Name some of: ${allowed}.`);
  }
  const kept = named.filter(([path]) => required.has(path));
  assertPresent(Object.fromEntries(kept.map(([path, key]) => [`${resource}.${path}`, input[key]])));
  return named.map(([, key]) => key);
}

/** The chosen properties of a value. */
export function pick<T extends object, Key extends keyof T>(value: T, keys: readonly Key[]): Pick<T, Key> {
  const chosen: Partial<Pick<T, Key>> = {};
  for (const key of keys) chosen[key] = value[key];
  return chosen as Pick<T, Key>;
}
