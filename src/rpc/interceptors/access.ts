import {
  type DescField,
  type DescMessage,
  type DescMethod,
  getOption,
  hasOption,
  type Message,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { Interceptor } from "@connectrpc/connect";
import { field as fieldOption } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { AppError } from "../../kernel/errors.ts";
import type { AccessPolicy, Authorize } from "../call/access/authorization.ts";
import type { Reauthenticate } from "../call/access/reauthenticate.ts";
import type { ActiveCall } from "../call/active-call.ts";
import { callKey } from "../call/call-context.ts";

/** Age from which the principal of a call is authenticated again, in milliseconds. */
const PRINCIPAL_MAX_AGE_MS = 100;

/** A field that only some callers may set. */
interface ProtectedField {
  field: DescField;
  policy: AccessPolicy;
}

/**
 * Creates the interceptor that enforces the policies of fields. It authenticates the caller again when a message of the
 * request or of a stream of responses comes long after the headers: a slow body or stream must not outlive a revoked
 * credential.
 */
export function createAccessInterceptor(authorize: Authorize, reauthenticate: Reauthenticate): Interceptor {
  const methods = new Map<DescMethod, readonly ProtectedField[]>();
  const protectedFieldsOf = (method: DescMethod): readonly ProtectedField[] => {
    const fields = methods.get(method) ?? protectedFields(method.input);
    methods.set(method, fields);
    return fields;
  };
  const check = async (call: ActiveCall, method: DescMethod, message: Message) => {
    if (call.principalAgeMs > PRINCIPAL_MAX_AGE_MS) await reauthenticate(call);
    const fields = protectedFieldsOf(method);
    if (fields.length > 0) authorizeFields(authorize, call, fields, method.input, message);
  };
  async function* checked<T extends Message>(
    messages: AsyncIterable<T>,
    check: (message: T) => Promise<void>,
  ) {
    for await (const message of messages) {
      await check(message);
      yield message;
    }
  }
  const checkResponse = async (call: ActiveCall) => {
    if (call.principalAgeMs > PRINCIPAL_MAX_AGE_MS) await reauthenticate(call);
  };
  return (next) => async (request) => {
    const { method } = request;
    const call = request.contextValues.get(callKey);
    if (call === undefined) return next(request);
    if (request.stream) {
      const message = checked(request.message, (part) => check(call, method, part));
      const response = await next({ ...request, message });
      if (!response.stream || method.methodKind === "client_streaming") return response;
      return { ...response, message: checked(response.message, () => checkResponse(call)) };
    }
    await check(call, method, request.message);
    return next(request);
  };
}

/** Checks that the caller may set the protected fields that are set. The response is private when there are some. */
function authorizeFields(
  authorize: Authorize,
  call: ActiveCall,
  fields: readonly ProtectedField[],
  schema: DescMessage,
  message: Message,
): void {
  const reflected = reflect(schema, message);
  for (const { field, policy } of fields) {
    if (!reflected.isSet(field)) continue;
    try {
      authorize(call, policy);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const description = error.message;
      throw new AppError(error.code, `${field.name}: ${description}`, {
        ...error.details,
        fields: [{ field: field.name, description }],
      });
    }
    call.responseMetadata.isPrivate = true;
  }
}

function protectedFields({ fields }: DescMessage): ProtectedField[] {
  return fields
    .filter((field) => hasOption(field, fieldOption))
    .map((field) => ({ field, policy: getOption(field, fieldOption) }));
}
