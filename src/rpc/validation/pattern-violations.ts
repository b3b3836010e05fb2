import { getOption, type Message } from "@bufbuild/protobuf";
import type { Path } from "@bufbuild/protobuf/reflect";
import type { Violation } from "@bufbuild/protovalidate";
import { FieldBehavior, field_behavior } from "../../../gen/google/api/field_behavior_pb.ts";
import { IS_REQUIRED } from "../../kernel/fields.ts";

/** The descriptions of values that do not match a pattern of the contract, by pattern. */
export const PATTERN_DESCRIPTIONS: Readonly<Record<string, string>> = {
  "^[A-Z]{2}$": "must be a code of two capital letters",
  "^[A-Z]{3}$": "must be a code of three capital letters",
  "^([A-Z]{2}|[*])$": "must be a code of two capital letters, or *",
  "^[a-z0-9]+(-[a-z0-9]+)*$": "must be words of lower-case letters and digits, separated by hyphens",
  "^[a-z0-9_-]*$": "must contain only lower-case letters, digits, hyphens and underscores",
  "^[A-Za-z0-9_-]*$": "must contain only letters, digits, hyphens and underscores",
  "^[A-Za-z0-9][A-Za-z0-9._-]*$":
    "must begin with a letter or digit and contain only letters, digits, periods, hyphens and underscores",
  "^[a-z][a-z0-9-]{1,62}$": "must be 2 to 63 lower-case letters, digits and hyphens, and begin with a letter",
  "^https?://": "must begin with http:// or https://",
  "^[^\\p{Cc}\\p{Zl}\\p{Zp}]*$": "must not contain line breaks or control characters",
  "^[\\t\\n\\r\\P{Cc}]*$": "must not contain control characters except tabs and line breaks",
};

/** Returns the description of a violation: in words for patterns, and for required fields that are empty. */
export function describeViolation({ ruleId, field, message }: Violation, request: Message): string {
  if (ruleId !== "string.pattern") return message;
  if (isRequired(field) && valueAt(field, request) === "") return IS_REQUIRED;
  const pattern = /`(.*)`/s.exec(message)?.[1] ?? "";
  return PATTERN_DESCRIPTIONS[pattern] ?? message;
}

function isRequired(path: Path): boolean {
  const last = path.at(-1);
  return last?.kind === "field" && getOption(last, field_behavior).includes(FieldBehavior.REQUIRED);
}

/** Returns the value at a path; undefined for a field of a oneof. */
function valueAt(path: Path, message: Message): unknown {
  let value: unknown = message;
  for (const step of path) {
    if (step.kind === "field") value = Reflect.get(Object(value), step.localName);
    else if (step.kind === "list_sub") value = Reflect.get(Object(value), step.index);
    else if (step.kind === "map_sub") value = Reflect.get(Object(value), String(step.key));
    else return undefined;
  }
  return value;
}
