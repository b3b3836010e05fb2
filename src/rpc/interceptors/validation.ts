import type { DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { AppError, type FieldViolation } from "../../kernel/errors.ts";
import { isCertainlyValid } from "../validation/fast-validation.ts";
import { checkText } from "../validation/string-safety.ts";

/** Bounds of one refusal: trailers over 8 KiB are refused by some clients, and base64 adds a third. */
const maxViolations = 50;
const maxViolationsLength = 3_000;
const maxPathLength = 200;

/** Holds a message to the rules of the contract and to well-formed text. @returns its faults, first things first */
export type Check = <Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
) => readonly FieldViolation[];

/** A check of single messages, for those that a contract exempts from the check of the request they are in. */
export function createCheck(): Check {
  const validator = createValidator();
  return (schema, message) => {
    const faults = new Faults();
    checkText(schema, message, faults.add);
    if (faults.fields.length === 0 && isCertainlyValid(schema, message)) return [];
    const result = validator.validate(schema, message);
    if (result.kind === "error") {
      throw new AppError("internal", result.error.message, { reason: "VALIDATION_FAILED" }, result.error);
    }
    for (const { field, message, forKey } of result.violations ?? []) {
      const path = pathToString(field);
      if (faults.add(forKey ? `${path} (key)` : path, message)) break;
    }
    return faults.fields;
  };
}

/**
 * Holds requests to the rules of the contract and to well-formed text.
 * A request that breaks them is refused with INVALID_ARGUMENT and one violation for each fault.
 */
export function createValidationInterceptor(): Interceptor {
  const check = createCheck();
  const validate: (...message: Parameters<Check>) => void = (schema, message) =>
    refuse(check(schema, message));
  async function* validated<T extends Message>(schema: DescMessage, messages: AsyncIterable<T>) {
    for await (const message of messages) {
      validate(schema, message);
      yield message;
    }
  }
  return (next) => async (request) => {
    if (request.stream) {
      return next({ ...request, message: validated(request.method.input, request.message) });
    }
    validate(request.method.input, request.message);
    return next(request);
  };
}

class Faults {
  readonly #fields: FieldViolation[] = [];
  #length = 0;

  /** Notes a fault; true when there is room for no more. */
  readonly add = (path: string, description: string): boolean => {
    const field = path.length > maxPathLength ? `${path.slice(0, maxPathLength)}...` : path;
    // A faulty key is part of its own path, and must not make the answer faulty too.
    // A field whose text is broken breaks its other rules as well, for no news.
    if (this.#fields.some((other) => other.field === field)) return false;
    this.#fields.push({ field: field.toWellFormed(), description });
    this.#length += field.length + description.length;
    return this.#fields.length >= maxViolations || this.#length >= maxViolationsLength;
  };

  get fields(): readonly FieldViolation[] {
    return this.#fields;
  }
}

/** @throws AppError invalid when there are faults */
function refuse(faults: readonly FieldViolation[]): void {
  const [first, ...others] = faults;
  if (first === undefined) return;
  const more = others.length === 0 ? "" : ` (and ${others.length} more, see the details)`;
  throw new AppError("invalid", `${first.field}: ${first.description}${more}`, {
    reason: "INVALID_REQUEST",
    fields: [...faults],
  });
}
