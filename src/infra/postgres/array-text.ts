/** Characters that end a quoted element or escape the next character. */
const SPECIAL = /["\\]/;

/**
 * Returns a list as the text of a PostgreSQL array. The driver could write it, but it escapes each element by two regular
 * expressions, which takes a good part of the time of statements with many arrays.
 * @throws TypeError for an element of another type
 */
export function arrayText(values: readonly unknown[]): string {
  let text = "";
  for (const value of values) text += text === "" ? elementText(value) : `,${elementText(value)}`;
  return `{${text}}`;
}

function elementText(value: unknown): string {
  switch (typeof value) {
    case "string":
      return `"${SPECIAL.test(value) ? value.replaceAll(/["\\]/g, "\\$&") : value}"`;
    case "number":
    case "bigint":
    case "boolean":
      return String(value);
    case "undefined":
      return "NULL";
    default:
      return objectText(value);
  }
}

function objectText(value: unknown): string {
  if (value === null) return "NULL";
  if (value instanceof Date) return `"${value.toISOString()}"`;
  if (value instanceof Uint8Array) return `"\\\\x${Buffer.from(value).toString("hex")}"`;
  if (Array.isArray(value)) return arrayText(value);
  throw new TypeError(`an array of PostgreSQL cannot contain ${String(value)}`);
}
