import { globSync } from "node:fs";
import { resolve } from "node:path";
import {
  type DescField,
  type DescMessage,
  type DescService,
  getOption,
  ScalarType,
} from "@bufbuild/protobuf";
import { type FieldRules, field as fieldRules, Ignore } from "../../../gen/buf/validate/validate_pb.ts";
import { FieldBehavior, field_behavior } from "../../../gen/google/api/field_behavior_pb.ts";

/** Returns all services of the contracts, as generated. */
export async function readServices(): Promise<DescService[]> {
  const services: DescService[] = [];
  for (const path of globSync("gen/cartwright/**/*_service_pb.ts").sort()) {
    const module: Record<string, unknown> = await import(/* @vite-ignore */ resolve(path));
    services.push(...Object.values(module).filter(isService));
  }
  return services;
}

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}

/** Whether a field has a behavior (AIP-203). */
export function hasBehavior(field: DescField, behavior: FieldBehavior): boolean {
  return getOption(field, field_behavior).includes(behavior);
}

/**
 * Returns the fields of a message, and of our messages within it, that a caller could fill without bound, as
 * `Message.field` with what is missing. Output-only fields need no bound.
 */
export function unboundedFields(message: DescMessage, seen = new Set<DescMessage>()): Map<string, string> {
  const found = new Map<string, string>();
  if (seen.has(message)) return found;
  seen.add(message);
  for (const field of message.fields) {
    // The server clears it before it validates the request.
    if (hasBehavior(field, FieldBehavior.OUTPUT_ONLY)) continue;
    const missing = missingBound(field, getOption(field, fieldRules));
    if (missing !== undefined) found.set(`${message.name}.${field.name}`, missing);
    const inner = field.message;
    if (inner === undefined || !inner.typeName.startsWith("cartwright.")) continue;
    for (const [name, fault] of unboundedFields(inner, seen)) found.set(name, fault);
  }
  return found;
}

function missingBound(field: DescField, rules: FieldRules): string | undefined {
  if (rules.ignore === Ignore.ALWAYS) return "is ignored";
  const { type } = rules;
  if (field.fieldKind === "list") {
    if (type.case !== "repeated" || type.value.maxItems === 0n) return "has no max_items";
    return boundOf(field, type.value.items);
  }
  if (field.fieldKind === "map") {
    if (type.case !== "map" || type.value.maxPairs === 0n) return "has no max_pairs";
    const key = scalarBound(field.mapKey, type.value.keys);
    return key === undefined ? boundOf(field, type.value.values) : `key ${key}`;
  }
  return boundOf(field, rules);
}

function boundOf(field: DescField, rules: FieldRules | undefined): string | undefined {
  if (field.scalar !== undefined) return scalarBound(field.scalar, rules);
  if (field.enum !== undefined) {
    return rules?.type.case === "enum" && rules.type.value.definedOnly ? undefined : "is not defined_only";
  }
  const { typeName } = field.message ?? { typeName: "" };
  if (typeName.startsWith("cartwright.")) return undefined;
  const type = rules?.type;
  if (type?.case !== "timestamp" && type?.case !== "duration") return `is a ${typeName} without a rule`;
  return hasRange(type.value) ? undefined : "has no range";
}

function scalarBound(scalar: ScalarType, rules: FieldRules | undefined): string | undefined {
  if (scalar === ScalarType.BOOL) return undefined;
  const type = rules?.type;
  if (type?.case === "int32" || type?.case === "int64")
    return hasRange(type.value) ? undefined : "has no range";
  if (type?.case !== "string") return "has no rule";
  const { maxLen, pattern, wellKnown, notContains } = type.value;
  // A pattern such as ^[A-Z]{3}$ is a bound by itself.
  const fixed = /^\^[^*+,]*\$$/.test(pattern);
  if (maxLen === 0n && wellKnown.case !== "uuid" && !fixed) return "has no max_len";
  const anchored = pattern.startsWith("^") && pattern.endsWith("$");
  if (wellKnown.case === undefined && !anchored && notContains !== "\0") return "may hold NUL";
  return undefined;
}

function hasRange(rules: { lessThan: { case?: string }; greaterThan: { case?: string } }): boolean {
  return rules.lessThan.case !== undefined && rules.greaterThan.case !== undefined;
}
