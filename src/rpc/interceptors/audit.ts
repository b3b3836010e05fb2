import {
  clone,
  create,
  type DescMessage,
  type DescMethod,
  type Message,
  toJsonString,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import type { Interceptor } from "@connectrpc/connect";
import { type MethodPolicy, RateLimitClass } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Principal } from "../../kernel/principal.ts";
import { callKey } from "../call/active-call.ts";
import { isReadMethod, methodKey } from "../policy/method-policy.ts";

/** The longest request that is noted as it is, in UTF-16 units. */
const maxRequestLength = 4_000;

/**
 * Notes in the call what staff and other services ask to be changed. Whoever makes the change writes it down in the
 * same transaction.
 */
export function createAuditInterceptor(policies: ReadonlyMap<string, MethodPolicy>): Interceptor {
  return (next) => (request) => {
    const { method } = request;
    const call = request.contextValues.get(callKey);
    const role = call === undefined ? undefined : roleOf(call.principal);
    if (call === undefined || role === undefined || !isNoted(method, policies)) return next(request);
    const note = (text: string) => {
      call.audit = { role, method: methodKey(method), request: text };
    };
    if (!request.stream) {
      note(withoutSecrets(method.input, request.message));
      return next(request);
    }
    note("");
    return next({ ...request, message: noted(request.message, method.input, note) });
  };
}

/** Notes what a stream begins with, without what it brings. */
async function* noted<T extends Message>(
  messages: AsyncIterable<T>,
  schema: DescMessage,
  note: (text: string) => void,
) {
  let isFirst = true;
  for await (const message of messages) {
    if (isFirst) {
      const head = reflect(schema, create(schema));
      for (const field of schema.fields) {
        if (field.fieldKind === "scalar" || field.fieldKind === "enum") {
          head.set(field, reflect(schema, message).get(field));
        }
      }
      note(withoutSecrets(schema, head.message));
    }
    isFirst = false;
    yield message;
  }
}

/** Changes are; but for events that are recorded one by one, each of which is a row of its own. */
function isNoted(method: DescMethod, policies: ReadonlyMap<string, MethodPolicy>): boolean {
  const policy = policies.get(methodKey(method));
  if (policy === undefined || isReadMethod(method)) return false;
  return policy.rateLimit?.class !== RateLimitClass.INGEST || method.methodKind === "client_streaming";
}

/** What is noted of callers who may change other people's things; undefined for the others. */
function roleOf(principal: Principal): string | undefined {
  if (principal.kind === "service") return "SERVICE";
  return principal.kind === "account" && principal.role !== "CUSTOMER" ? principal.role : undefined;
}

/** The request as JSON, without the fields that the contract marks with debug_redact. */
export function withoutSecrets(schema: DescMessage, message: Message): string {
  const copy = clone(schema, message);
  redact(reflect(schema, copy));
  const text = toJsonString(schema, copy);
  return text.length > maxRequestLength ? `${text.slice(0, maxRequestLength).toWellFormed()}...` : text;
}

function redact(message: ReflectMessage): void {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    if (field.proto.options?.debugRedact === true) message.clear(field);
    else if (field.fieldKind === "message") redact(message.get(field));
    else if (field.fieldKind === "list" && field.listKind === "message") {
      for (const item of message.get(field)) if (isMessage(item)) redact(item);
    }
  }
}

function isMessage(value: unknown): value is ReflectMessage {
  return typeof value === "object" && value !== null && "fields" in value && "clear" in value;
}
