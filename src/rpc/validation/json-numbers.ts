import { type DescField, type DescMessage, type JsonValue, ScalarType } from "@bufbuild/protobuf";
import { invalidField, quoted } from "../../kernel/errors.ts";
import { toConnectError } from "../errors/connect-errors.ts";
import { type FieldPath, pathText } from "./field-path.ts";

/**
 * Texts with a string that may not be the plain integer that the parser of messages expects: empty, or with a plus sign,
 * a bare point, white space, an escape, a fraction, an exponent or a prefix such as 0x. Only these texts are parsed twice.
 * A quote that closes a string matches nothing: in JSON neither a digit nor a quote follows it.
 */
const SUSPECT = /"(?:["+.\\]|-[.\\]|\s+[-+.\d"\\]|-?\d+(?:[.\\]|\s+"|[eE][-+]?\d*[\s\\"]|(?<="0)[xXoObB]))/;

/** A number of JSON (RFC 8259, 6): sign, integer, fraction, exponent. Leading zeros are accepted. */
const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;
const INFINITE = new Set(["NaN", "Infinity", "-Infinity"]);
/** More digits than a 64-bit integer has. */
const MAX_EXPONENT = 20;
/** Longest path in an error, in UTF-16 units; longer ones are truncated. */
const MAX_PATH_LENGTH = 200;
/** The deepest nesting that the parser of messages accepts. */
const MAX_DEPTH = 100;

/**
 * Returns the JSON text of a message, with integers in strings in plain notation ("1e2" is 100), which the parser of
 * messages requires for 64 bits.
 * @throws ConnectError invalid_argument for a string in another notation than a number of JSON ("0x10", "+3", " 7 "),
 *   which the parser would accept. ProtoJSON: https://protobuf.dev/programming-guides/json
 */
export function normalizeJsonNumbers(schema: DescMessage, text: string): string {
  if (!SUSPECT.test(text) || normalizerOf(schema) === undefined) return text;
  let json: JsonValue;
  try {
    json = JSON.parse(text);
  } catch {
    return text;
  }
  const { value, hasChanged } = normalizeNumbers(schema, json);
  return hasChanged ? JSON.stringify(value) : text;
}

/**
 * Returns the parsed JSON of a message as `normalizeJsonNumbers` returns its text, and whether anything differs. Objects
 * are changed in place.
 * @throws ConnectError as `normalizeJsonNumbers` does
 */
export function normalizeNumbers(
  schema: DescMessage,
  json: JsonValue,
): { value: JsonValue; hasChanged: boolean } {
  const state: State = { hasChanged: false, depth: 0 };
  const value = normalizerOf(schema)?.(json, undefined, state) ?? json;
  return { value, hasChanged: state.hasChanged };
}

/** The progress through one text. */
interface State {
  /** Whether a value was replaced. */
  hasChanged: boolean;
  /** The messages around the current value. */
  depth: number;
}

/** Returns the value to read in place of this one. @throws ConnectError */
type Normalize = (value: JsonValue, path: FieldPath | undefined, state: State) => JsonValue;

/** The normalizer of each message type; undefined for types without numbers. */
const normalizers = new Map<DescMessage, Normalize | undefined>();

function normalizerOf(schema: DescMessage): Normalize | undefined {
  if (normalizers.has(schema)) return normalizers.get(schema);
  if (schema.typeName.startsWith("google.protobuf.")) return wellKnown(schema);
  const fields = new Map<string, { name: string; normalize: Normalize }>();
  const normalize: Normalize = (json, parent, state) => {
    if (!isObject(json) || state.depth >= MAX_DEPTH) return json;
    state.depth += 1;
    for (const [key, value] of Object.entries(json)) {
      const field = fields.get(key);
      if (field !== undefined) json[key] = field.normalize(value, { parent, name: field.name }, state);
    }
    state.depth -= 1;
    return json;
  };
  // Before the fields: a message can contain itself.
  normalizers.set(schema, normalize);
  for (const field of schema.fields) {
    const normalize = fieldNormalizer(field);
    if (normalize === undefined) continue;
    fields.set(field.name, { name: field.name, normalize });
    fields.set(field.jsonName, { name: field.name, normalize });
  }
  if (fields.size === 0) normalizers.set(schema, undefined);
  return fields.size === 0 ? undefined : normalize;
}

/** Returns the normalizer of a wrapper such as Int64Value, which is a bare number in JSON. Other types have none. */
function wellKnown(schema: DescMessage): Normalize | undefined {
  const [value] = schema.fields;
  return schema.typeName.endsWith("Value") && value !== undefined
    ? numberNormalizer(value.scalar)
    : undefined;
}

function fieldNormalizer(field: DescField): Normalize | undefined {
  const normalize =
    field.message === undefined ? numberNormalizer(field.scalar) : normalizerOf(field.message);
  if (field.fieldKind === "list") return normalize && listNormalizer(normalize);
  if (field.fieldKind === "map") return mapNormalizer(numberNormalizer(field.mapKey), normalize);
  return normalize;
}

function listNormalizer(normalize: Normalize): Normalize {
  return (json, parent, state) =>
    Array.isArray(json) ? json.map((value, name) => normalize(value, { parent, name }, state)) : json;
}

function mapNormalizer(ofKey: Normalize | undefined, ofValue: Normalize | undefined): Normalize | undefined {
  if (ofKey === undefined && ofValue === undefined) return undefined;
  return (json, parent, state) => {
    if (!isObject(json)) return json;
    for (const [key, value] of Object.entries(json)) {
      const path = { parent, name: JSON.stringify(key) };
      ofKey?.(key, path, state);
      if (ofValue !== undefined) json[key] = ofValue(value, path, state);
    }
    return json;
  };
}

function numberNormalizer(scalar: ScalarType | undefined): Normalize | undefined {
  switch (scalar) {
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return (value, path) =>
        typeof value !== "string" || INFINITE.has(value) || NUMBER.test(value)
          ? value
          : reject(value, path, "number");
    case ScalarType.INT32:
    case ScalarType.INT64:
    case ScalarType.UINT32:
    case ScalarType.UINT64:
    case ScalarType.SINT32:
    case ScalarType.SINT64:
    case ScalarType.FIXED32:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED32:
    case ScalarType.SFIXED64:
      return (value, path, state) => {
        if (typeof value !== "string") return value;
        const integer = plainInteger(value) ?? reject(value, path, "whole number");
        if (integer !== value) state.hasChanged = true;
        return integer;
      };
    default:
      return undefined;
  }
}

/** Returns an integer in plain notation; undefined for text that is no integer, or none of 64 bits. */
function plainInteger(text: string): string | undefined {
  if (/^-?\d+$/.test(text)) return text;
  const [, sign = "", integer = "", fraction = "", exponent = "0"] = NUMBER.exec(text) ?? [];
  const shift = Number(exponent);
  if (integer === "" || Math.abs(shift) > MAX_EXPONENT) return undefined;
  const digits = `${"0".repeat(MAX_EXPONENT)}${integer}${fraction.padEnd(MAX_EXPONENT, "0")}`;
  const point = MAX_EXPONENT + integer.length + shift;
  return /[^0]/.test(digits.slice(point))
    ? undefined
    : `${sign}${digits.slice(0, point).replace(/^0+(?=\d)/, "")}`;
}

function reject(value: string, path: FieldPath | undefined, expected: string): never {
  const field = path === undefined ? "" : pathText(path).slice(0, MAX_PATH_LENGTH).toWellFormed();
  const description = `must be a ${expected} such as "42", not ${quoted(value)}`;
  throw toConnectError(invalidField(field, description, "INVALID_REQUEST"));
}

function isObject(json: JsonValue): json is { [key: string]: JsonValue } {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}
