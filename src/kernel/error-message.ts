/**
 * Returns the message of whatever was thrown. Node leaves the message of an AggregateError empty, as when it could
 * connect to none of the addresses of a host: then its code, or else its name.
 */
export function errorMessage(error: unknown): string {
  if (typeof error !== "object" || error === null) return String(error);
  return (
    textProperty(error, "message") ||
    textProperty(error, "code") ||
    textProperty(error, "name") ||
    "unknown error"
  );
}

function textProperty(value: object, key: string): string {
  const property: unknown = Reflect.get(value, key);
  return typeof property === "string" ? property : "";
}
