import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import { AppError, type FieldViolation, truncated } from "../../kernel/errors.ts";
import { isCertainlyValid } from "./fast-validation.ts";
import { describeViolation } from "./pattern-violations.ts";
import { checkStrings } from "./string-safety.ts";

/** The size of one error: some clients reject trailers over 8 KiB, and base64 adds a third. Lengths in UTF-16 units. */
const MAX_VIOLATIONS = 50;
const MAX_VIOLATIONS_LENGTH = 3_000;
const MAX_PATH_LENGTH = 200;

/** Checks a message against the rules of the contract and of text, and returns the violations in order. */
export type MessageValidator = <Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
) => readonly FieldViolation[];

/** Creates a validator. */
export function createMessageValidator(): MessageValidator {
  const validator = createValidator({ regexMatch: createPatternMatcher() });
  return (schema, message) => {
    const violations = new Violations();
    checkStrings(schema, message, violations.add);
    if (violations.list.length === 0 && isCertainlyValid(schema, message)) return [];
    const result = validator.validate(schema, message);
    if (result.kind === "error") {
      throw new AppError("internal", result.error.message, { reason: "VALIDATION_FAILED" }, result.error);
    }
    for (const violation of result.violations ?? []) {
      const path = pathToString(violation.field);
      const description = describeViolation(violation, message);
      if (violations.add(violation.forKey ? `${path} (key)` : path, description)) break;
    }
    return violations.list;
  };
}

/**
 * Returns a matcher that compiles each pattern once. The patterns of the contract mean the same in JavaScript as in RE2,
 * whose implementation in JavaScript takes ten times as long.
 */
function createPatternMatcher(): (pattern: string, text: string) => boolean {
  const compiled = new Map<string, RegExp>();
  return (pattern, text) => {
    const known = compiled.get(pattern) ?? new RegExp(pattern, "u");
    compiled.set(pattern, known);
    return known.test(text);
  };
}

/** The violations of one message, bounded. */
class Violations {
  readonly list: FieldViolation[] = [];
  #length = 0;

  /** Adds a violation, and returns whether the list is full. */
  readonly add = (path: string, description: string): boolean => {
    const field = truncated(path, MAX_PATH_LENGTH);
    // A field with malformed text breaks other rules for the same cause.
    if (this.list.some((other) => other.field === field)) return false;
    // A malformed map key is part of its path, and must not make the response malformed.
    this.list.push({ field: field.toWellFormed(), description });
    this.#length += field.length + description.length;
    return this.list.length >= MAX_VIOLATIONS || this.#length >= MAX_VIOLATIONS_LENGTH;
  };
}
