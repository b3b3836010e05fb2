import { type DescField, type DescMessage, getOption, type Message, ScalarType } from "@bufbuild/protobuf";
import { field as fieldRules, Ignore } from "../../../gen/buf/validate/validate_pb.ts";

/** Where a string is in a message, from the inside out; written only when the string is faulty. */
interface Place {
  parent: Place | undefined;
  /** A field name, or an index or key in brackets. */
  name: string | number;
}

/** Told of each faulty string; true ends the search. */
type Report = (path: string, description: string) => boolean;

type Visit = (message: Message, place: Place | undefined, report: Report) => boolean;
type VisitValue = (value: unknown, place: Place, report: Report) => boolean;

/** What to do with a message of a type, or undefined when no string can be in it. */
const visits = new Map<DescMessage, Visit | undefined>();

/**
 * Looks at every string of a message, map keys too: each must be well-formed Unicode and hold no NUL
 * character, for PostgreSQL stores neither. JSON can bring both, gRPC NUL.
 * Each message type is looked at once, so that types without strings cost nothing.
 */
export function checkText(schema: DescMessage, message: Message, report: Report): void {
  visitOf(schema)?.(message, undefined, report);
}

function visitOf(schema: DescMessage): Visit | undefined {
  if (visits.has(schema)) return visits.get(schema);
  if (!holdsText(schema, new Set())) {
    visits.set(schema, undefined);
    return undefined;
  }
  const fields: { field: DescField; visit: VisitValue }[] = [];
  const visit: Visit = (message, place, report) => {
    for (const { field, visit } of fields) {
      const value = fieldValue(message, field);
      if (value !== undefined && visit(value, { parent: place, name: field.name }, report)) return true;
    }
    return false;
  };
  // Before the fields: a message can hold itself.
  visits.set(schema, visit);
  for (const field of schema.fields) {
    const visit = isExempt(field) ? undefined : visitField(field);
    if (visit !== undefined) fields.push({ field, visit });
  }
  return visit;
}

function holdsText(schema: DescMessage, seen: Set<DescMessage>): boolean {
  if (seen.has(schema)) return false;
  seen.add(schema);
  return schema.fields.some((field) => {
    if (field.fieldKind === "map" && field.mapKey === ScalarType.STRING) return true;
    return (
      field.scalar === ScalarType.STRING || (field.message !== undefined && holdsText(field.message, seen))
    );
  });
}

/** Items that the contract exempts from the rules of their request are checked one by one, by whoever reads them. */
function isExempt(field: DescField): boolean {
  const { type } = getOption(field, fieldRules);
  return type.case === "repeated" && type.value.items?.ignore === Ignore.ALWAYS;
}

function fieldValue(message: Message, field: DescField): unknown {
  if (field.oneof === undefined) return Reflect.get(message, field.localName);
  const chosen: { case?: string; value?: unknown } = Reflect.get(message, field.oneof.localName);
  return chosen.case === field.localName ? chosen.value : undefined;
}

function visitField(field: DescField): VisitValue | undefined {
  const visit = field.scalar === ScalarType.STRING ? visitText : visitMessage(field.message);
  if (field.fieldKind === "list") return visit && visitList(visit);
  if (field.fieldKind === "map") return visitMap(field.mapKey === ScalarType.STRING, visit);
  return visit;
}

const visitText: VisitValue = (value, place, report) => {
  if (typeof value !== "string") return false;
  if (value.includes("\0")) return report(pathOf(place), "must not hold a NUL character");
  if (!value.isWellFormed()) return report(pathOf(place), "must be well-formed Unicode");
  return false;
};

function visitMessage(schema: DescMessage | undefined): VisitValue | undefined {
  const visit = schema && visitOf(schema);
  return visit && ((value, place, report) => isMessage(value) && visit(value, place, report));
}

function visitList(visit: VisitValue): VisitValue {
  return (values, place, report) =>
    Array.isArray(values) &&
    values.some((value, index) => visit(value, { parent: place, name: index }, report));
}

function visitMap(textKeys: boolean, visit: VisitValue | undefined): VisitValue | undefined {
  if (!textKeys && visit === undefined) return undefined;
  return (map, parent, report) => {
    if (typeof map !== "object" || map === null) return false;
    for (const [key, value] of Object.entries(map)) {
      const place = { parent, name: JSON.stringify(key) };
      if (textKeys && visitText(key, place, report)) return true;
      if (visit?.(value, place, report)) return true;
    }
    return false;
  };
}

function isMessage(value: unknown): value is Message {
  return typeof value === "object" && value !== null;
}

function pathOf({ parent, name }: Place): string {
  if (parent === undefined) return String(name);
  const inBrackets = typeof name === "number" || name.startsWith('"');
  return `${pathOf(parent)}${inBrackets ? `[${name}]` : `.${name}`}`;
}
