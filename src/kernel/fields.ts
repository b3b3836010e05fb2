import { AppError, type FieldViolation, invalidField, quoted } from "./errors.ts";

/** The fields that an update may change. */
export interface UpdatableFields<Key extends string> {
  /** Field of the request that holds the new values, such as `product`. */
  resource: string;
  /** Property for each contract name. */
  fields: Readonly<Record<string, Key>>;
  /** Contract names of the fields that cannot be emptied. */
  required: ReadonlySet<string>;
}

/** The description of a violation by a required field whose value is missing. */
export const IS_REQUIRED = "is required";

/** @throws AppError invalid_argument that names all paths whose values are missing */
export function assertPresent(values: Readonly<Record<string, unknown>>): void {
  const paths = Object.keys(values).filter((path) => isEmpty(values[path]));
  if (paths.length > 0) throw fieldsRequired(paths);
}

/** Returns INVALID_ARGUMENT that names the paths of required fields whose values are missing. */
export function fieldsRequired(paths: readonly string[]): AppError {
  const fields: FieldViolation[] = paths.map((field) => ({ field, description: IS_REQUIRED }));
  return new AppError("invalid_argument", `Required but missing: ${paths.join(", ")}.`, {
    reason: "FIELD_REQUIRED",
    fields,
  });
}

/** Returns whether a field mask selects all fields (AIP-134, AIP-157). */
export function isFullMask(mask: readonly string[]): boolean {
  return mask.length === 1 && mask[0] === "*";
}

/**
 * Returns the properties that an update changes: those of the mask, all of them for "*" or, without a mask, those that
 * are neither empty nor false (AIP-134).
 * @throws AppError invalid_argument for a path that cannot be changed or emptied, and when nothing changes
 */
export function fieldsToUpdate<Key extends string>(
  { resource, fields, required }: UpdatableFields<Key>,
  input: Readonly<Record<Key, unknown>>,
  mask: readonly string[],
): Key[] {
  const updatable = Object.keys(fields).join(", ");
  const paths = isFullMask(mask) ? Object.keys(fields) : mask;
  const unknown = paths.find((path) => !Object.hasOwn(fields, path));
  if (unknown !== undefined) {
    throw invalidField("update_mask", `cannot contain ${quoted(unknown)}. Updatable fields: ${updatable}.`);
  }
  const changed = Object.entries(fields).filter(([path, key]) =>
    paths.length > 0 ? paths.includes(path) : !isEmpty(input[key]) && input[key] !== false,
  );
  if (changed.length === 0) {
    throw invalidField("update_mask", `selects no field to change. Updatable fields: ${updatable}.`);
  }
  const requiredFields = changed.filter(([path]) => required.has(path));
  assertPresent(Object.fromEntries(requiredFields.map(([path, key]) => [`${resource}.${path}`, input[key]])));
  return changed.map(([, key]) => key);
}

/** Returns an object with the chosen properties of a value. */
export function pick<T extends object, Key extends keyof T>(value: T, keys: readonly Key[]): Pick<T, Key>;
export function pick(value: object, keys: readonly PropertyKey[]): object {
  return Object.fromEntries(keys.map((key) => [key, Reflect.get(value, key)]));
}

/** Returns whether a field is empty: an empty string, list or map, or undefined. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === "") return true;
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}
