import {
  type DescField,
  type DescMessage,
  getOption,
  isMessage,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { field as fieldRules, Ignore } from "../../../gen/buf/validate/validate_pb.ts";
import { type FieldPath, pathText } from "./field-path.ts";

/** Reports a violation; returns true to end the search. */
type Report = (path: string, description: string) => boolean;

type Visit = (message: Message, path: FieldPath | undefined, report: Report) => boolean;
type VisitValue = (value: unknown, path: FieldPath, report: Report) => boolean;

/** The visitor of each message type; undefined for types without strings. */
const visitors = new Map<DescMessage, Visit | undefined>();

/**
 * Checks every string of a message, map keys too: each must be well-formed Unicode without NUL characters, since
 * PostgreSQL stores neither. JSON can carry both, gRPC only NUL.
 * Visitors are compiled once for each message type, so that types without strings cost nothing.
 */
export function checkStrings(schema: DescMessage, message: Message, report: Report): void {
  visitorOf(schema)?.(message, undefined, report);
}

function visitorOf(schema: DescMessage): Visit | undefined {
  if (visitors.has(schema)) return visitors.get(schema);
  if (!containsStrings(schema, new Set())) {
    visitors.set(schema, undefined);
    return undefined;
  }
  const fields: { field: DescField; visit: VisitValue }[] = [];
  const visit: Visit = (message, path, report) => {
    for (const { field, visit } of fields) {
      const value = fieldValue(message, field);
      if (value !== undefined && visit(value, { parent: path, name: field.name }, report)) return true;
    }
    return false;
  };
  // Before the fields: a message can contain itself.
  visitors.set(schema, visit);
  for (const field of schema.fields) {
    const visit = isExempt(field) ? undefined : compileField(field);
    if (visit !== undefined) fields.push({ field, visit });
  }
  return visit;
}

function containsStrings(schema: DescMessage, seen: Set<DescMessage>): boolean {
  if (seen.has(schema)) return false;
  seen.add(schema);
  return schema.fields.some((field) => {
    if (field.fieldKind === "map" && field.mapKey === ScalarType.STRING) return true;
    return (
      field.scalar === ScalarType.STRING ||
      (field.message !== undefined && containsStrings(field.message, seen))
    );
  });
}

/** Returns whether the contract exempts the items of a field: the feature validates them one by one. */
function isExempt(field: DescField): boolean {
  const { type } = getOption(field, fieldRules);
  return type.case === "repeated" && type.value.items?.ignore === Ignore.ALWAYS;
}

function fieldValue(message: Message, field: DescField): unknown {
  if (field.oneof === undefined) return Reflect.get(message, field.localName);
  const selected: { case?: string; value?: unknown } = Reflect.get(message, field.oneof.localName);
  return selected.case === field.localName ? selected.value : undefined;
}

function compileField(field: DescField): VisitValue | undefined {
  const visit = field.scalar === ScalarType.STRING ? visitString : compileMessage(field.message);
  if (field.fieldKind === "list") return visit && compileList(visit);
  if (field.fieldKind === "map") return compileMap(field.mapKey === ScalarType.STRING, visit);
  return visit;
}

const visitString: VisitValue = (value, path, report) => {
  if (typeof value !== "string") return false;
  if (value.includes("\0")) return report(pathText(path), "must not contain a NUL character");
  if (!value.isWellFormed()) return report(pathText(path), "must be well-formed Unicode");
  return false;
};

function compileMessage(schema: DescMessage | undefined): VisitValue | undefined {
  const visit = schema && visitorOf(schema);
  return visit && ((value, path, report) => isMessage(value) && visit(value, path, report));
}

function compileList(visit: VisitValue): VisitValue {
  return (values, path, report) =>
    Array.isArray(values) &&
    values.some((value, index) => visit(value, { parent: path, name: index }, report));
}

function compileMap(hasStringKeys: boolean, visit: VisitValue | undefined): VisitValue | undefined {
  if (!hasStringKeys && visit === undefined) return undefined;
  return (map, parent, report) => {
    if (typeof map !== "object" || map === null) return false;
    for (const [key, value] of Object.entries(map)) {
      const path = { parent, name: JSON.stringify(key) };
      if (hasStringKeys && visitString(key, path, report)) return true;
      if (visit?.(value, path, report)) return true;
    }
    return false;
  };
}
