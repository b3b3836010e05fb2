import {
  type DescField,
  type DescMessage,
  getOption,
  hasOption,
  isFieldSet,
  type Message,
} from "@bufbuild/protobuf";
import {
  type FieldRules,
  FieldRulesSchema,
  field as fieldRules,
  Ignore,
  type Int64Rules,
  Int64RulesSchema,
  type MapRules,
  MapRulesSchema,
  message as messageRules,
  type StringRules,
  StringRulesSchema,
} from "../../../gen/buf/validate/validate_pb.ts";

/** Whether a value surely keeps its rules. When not, it may still do so. */
type Sure = (value: unknown) => boolean;

const NEVER: Sure = () => false;
const ALWAYS: Sure = () => true;

/** Patterns that mean the same to JavaScript as to RE2: no escapes, no groups but plain ones. */
const PLAIN_PATTERN = /^(?!.*\(\?)[\w^$ .\-[\](){}+*?,:/]*$/;
/** Addresses that are surely URIs (RFC 3986). */
const PLAIN_URI = /^https?:\/\/[a-z0-9]+([.-][a-z0-9]+)*(\/[\w.~-]+)*\/?$/i;

const sures = new Map<DescMessage, Sure>();

/**
 * A check that says in a microsecond of most messages that they keep the rules of the contract. protovalidate
 * takes fifty for the rows of an import, and is asked about what this is not sure of: so it also is what
 * words the faults, and rules that are unknown here cost time but nothing else.
 */
export function isCertainlyValid(schema: DescMessage, message: Message): boolean {
  return sureOf(schema)(message);
}

function sureOf(schema: DescMessage): Sure {
  const known = sures.get(schema);
  if (known !== undefined) return known;
  // For messages that hold themselves, until all of their fields have been looked at.
  sures.set(schema, NEVER);
  const sure = compile(schema);
  sures.set(schema, sure);
  return sure;
}

function compile(schema: DescMessage): Sure {
  if (hasOption(schema, messageRules) || schema.oneofs.length > 0) return NEVER;
  const checks = schema.fields.map((field) => ({ name: field.localName, sure: sureField(field) }));
  if (checks.some(({ sure }) => sure === NEVER)) return NEVER;
  return (message) =>
    typeof message === "object" &&
    message !== null &&
    checks.every(({ name, sure }) => sure(Reflect.get(message, name)));
}

function sureField(field: DescField): Sure {
  const rules = getOption(field, fieldRules);
  if (!knows(FieldRulesSchema, rules, ["required", "ignore", "string", "int64", "map"])) return NEVER;
  if (rules.ignore === Ignore.ALWAYS) return ALWAYS;
  const sure = sureValue(field, rules);
  if (sure === NEVER) return NEVER;
  // What is required is left to protovalidate when it is empty in any way.
  if (rules.required) return (value) => value !== undefined && value !== "" && value !== 0n && sure(value);
  if (rules.ignore === Ignore.IF_ZERO_VALUE)
    return (value) => value === undefined || value === "" || sure(value);
  return (value) => value === undefined || sure(value);
}

function sureValue(field: DescField, rules: FieldRules): Sure {
  if (field.fieldKind === "map") return sureMap(field, rules);
  if (field.fieldKind === "message") return rules.type.case === undefined ? sureOf(field.message) : NEVER;
  return field.fieldKind === "scalar" ? sureScalar(rules) : NEVER;
}

function sureScalar({ type }: FieldRules): Sure {
  if (type.case === undefined) return ALWAYS;
  if (type.case === "string") return sureString(type.value);
  return type.case === "int64" ? sureInt64(type.value) : NEVER;
}

/** Lengths are counted in code points, of which a text has no more than UTF-16 units, and at least half as many. */
function sureString(rules: StringRules): Sure {
  if (!knows(StringRulesSchema, rules, ["minLen", "maxLen", "pattern", "notContains", "uri"])) return NEVER;
  if (!PLAIN_PATTERN.test(rules.pattern)) return NEVER;
  const [pattern, { notContains }] = [new RegExp(rules.pattern), rules];
  const min = 2 * Number(rules.minLen) - 1;
  const max = has(StringRulesSchema, rules, "maxLen") ? Number(rules.maxLen) : Number.POSITIVE_INFINITY;
  const uri = rules.wellKnown.case === "uri" && rules.wellKnown.value;
  return (value) =>
    typeof value === "string" &&
    value.length >= min &&
    value.length <= max &&
    (rules.pattern === "" || pattern.test(value)) &&
    (notContains === "" || !value.includes(notContains)) &&
    (!uri || PLAIN_URI.test(value));
}

function sureInt64(rules: Int64Rules): Sure {
  if (!knows(Int64RulesSchema, rules, ["gte", "lte"])) return NEVER;
  const min = rules.greaterThan.case === "gte" ? rules.greaterThan.value : undefined;
  const max = rules.lessThan.case === "lte" ? rules.lessThan.value : undefined;
  return (value) =>
    typeof value === "bigint" && (min === undefined || value >= min) && (max === undefined || value <= max);
}

function sureMap(field: DescField & { fieldKind: "map" }, { type }: FieldRules): Sure {
  if (type.case !== "map" || !knows(MapRulesSchema, type.value, ["maxPairs", "keys", "values"])) return NEVER;
  const [key, value] = [sureItem(type.value.keys), sureItem(type.value.values)];
  if (field.mapKind !== "scalar" || key === NEVER || value === NEVER) return NEVER;
  const max = maxPairs(type.value);
  return (map) => {
    if (typeof map !== "object" || map === null) return false;
    const entries = Object.entries(map);
    return entries.length <= max && entries.every(([name, item]) => key(name) && value(item));
  };
}

function maxPairs(rules: MapRules): number {
  return has(MapRulesSchema, rules, "maxPairs") ? Number(rules.maxPairs) : Number.POSITIVE_INFINITY;
}

function sureItem(rules: FieldRules | undefined): Sure {
  if (rules === undefined) return ALWAYS;
  return knows(FieldRulesSchema, rules, ["string", "int64"]) ? sureScalar(rules) : NEVER;
}

function has(schema: DescMessage, rules: Message, name: string): boolean {
  const field = schema.field[name];
  return field !== undefined && isFieldSet(rules, field);
}

/** Whether no rule is set but these. */
function knows(schema: DescMessage, rules: Message, names: readonly string[]): boolean {
  return schema.fields.every((field) => !isFieldSet(rules, field) || names.includes(field.localName));
}
