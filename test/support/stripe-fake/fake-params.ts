import { invalidRequest } from "./fake-objects.ts";

/** The parameters of a request by their names in the form, such as `metadata[order]`. */
export type FakeParams = ReadonlyMap<string, string>;

/** Reads a form, or the query of an address. */
export function readParams(text: string): FakeParams {
  return new Map(new URLSearchParams(text));
}

/**
 * Checks the names of parameters.
 * @param names `*` is any name in brackets
 * @throws FakeStripeError parameter_unknown
 */
export function assertKnown(params: FakeParams, names: readonly string[]): void {
  const patterns = [...names, "expand[*]"].map(
    (name) => new RegExp(`^${name.replace(/[[\]]/g, "\\$&").replaceAll("*", "[^\\]]+")}$`),
  );
  for (const name of params.keys()) {
    if (!patterns.some((pattern) => pattern.test(name))) {
      throw invalidRequest("parameter_unknown", `Received unknown parameter: ${name}`);
    }
  }
}

/** @throws FakeStripeError parameter_missing */
export function requiredParam(params: FakeParams, name: string): string {
  const value = params.get(name);
  if (value === undefined || value === "") {
    throw invalidRequest("parameter_missing", `Missing required param: ${name}.`);
  }
  return value;
}

/** @throws FakeStripeError parameter_invalid_integer */
export function amountParam(params: FakeParams, name: string): number {
  const value = requiredParam(params, name);
  if (!/^[1-9]\d{0,11}$/.test(value)) {
    throw invalidRequest("parameter_invalid_integer", `Invalid integer: ${name}`);
  }
  return Number(value);
}

/** Returns the metadata of a request. */
export function metadataParam(params: FakeParams): Record<string, string> {
  const entries = [...params].flatMap(([name, value]) => {
    const key = /^metadata\[(.+)\]$/.exec(name)?.[1];
    return key === undefined ? [] : [[key, value] as const];
  });
  return Object.fromEntries(entries);
}

/** Returns the paths that a request expands. */
export function expandParam(params: FakeParams): string[] {
  return [...params].flatMap(([name, value]) => (name.startsWith("expand[") ? [value] : []));
}
