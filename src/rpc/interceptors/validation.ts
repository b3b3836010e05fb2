import type { DescMessage, Message } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { AppError, type FieldViolation } from "../../kernel/errors.ts";
import { fieldsRequired, IS_REQUIRED } from "../../kernel/fields.ts";
import { clearOutputOnlyFields } from "../policy/output-only-fields.ts";
import { createMessageValidator } from "../validation/message-validator.ts";

/**
 * Creates the interceptor that clears the output-only fields of requests and validates the rest against the rules of
 * the contract and of text. An invalid request fails with INVALID_ARGUMENT and one violation for each field.
 */
export function createValidationInterceptor(): Interceptor {
  const validate = createMessageValidator();
  const accept = (schema: DescMessage, message: Message): void => {
    clearOutputOnlyFields(schema, message);
    assertValid(validate(schema, message));
  };
  async function* validated<T extends Message>(schema: DescMessage, messages: AsyncIterable<T>) {
    for await (const message of messages) {
      accept(schema, message);
      yield message;
    }
  }
  return (next) => async (request) => {
    if (request.stream) {
      return next({ ...request, message: validated(request.method.input, request.message) });
    }
    accept(request.method.input, request.message);
    return next(request);
  };
}

/** @throws AppError invalid_argument when there are violations */
function assertValid(violations: readonly FieldViolation[]): void {
  const [first, ...others] = violations;
  if (first === undefined) return;
  if (violations.every(({ description }) => description === IS_REQUIRED)) {
    throw fieldsRequired(violations.map(({ field }) => field));
  }
  const more = others.length === 0 ? "" : ` (and ${others.length} more, see the details)`;
  throw new AppError("invalid_argument", `${first.field}: ${first.description}${more}`, {
    reason: "INVALID_REQUEST",
    fields: [...violations],
  });
}
