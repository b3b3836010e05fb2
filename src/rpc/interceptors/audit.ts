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
import { truncated } from "../../kernel/errors.ts";
import type { Principal } from "../../kernel/principal.ts";
import { callKey } from "../call/call-context.ts";
import { isReadMethod, methodKey } from "../policy/method-policy.ts";

/** Longest recorded request, in UTF-16 units; longer ones are truncated. */
const MAX_REQUEST_LENGTH = 4_000;

/**
 * Creates the interceptor that records in the call which changes staff and other services request. The transaction that
 * makes the change writes the record to the audit log.
 */
export function createAuditInterceptor(policies: ReadonlyMap<string, MethodPolicy>): Interceptor {
  return (next) => (request) => {
    const { method } = request;
    const call = request.contextValues.get(callKey);
    const role = call === undefined ? undefined : auditedRole(call.principal);
    if (call === undefined || role === undefined || !isAudited(method, policies)) return next(request);
    const record = (text: string) => {
      call.audit = { role, method: methodKey(method), request: text };
    };
    if (!request.stream) {
      record(toRedactedJson(method.input, request.message));
      return next(request);
    }
    record("");
    return next({ ...request, message: recordFirst(request.message, method.input, record) });
  };
}

/** Records the scalar fields of a stream's first message, which describe the stream, without its rows. */
async function* recordFirst<T extends Message>(
  messages: AsyncIterable<T>,
  schema: DescMessage,
  record: (text: string) => void,
) {
  let isFirst = true;
  for await (const message of messages) {
    if (isFirst) {
      const source = reflect(schema, message);
      const summary = reflect(schema, create(schema));
      for (const field of schema.fields) {
        // An absent optional field must not be recorded as its default.
        if ((field.fieldKind === "scalar" || field.fieldKind === "enum") && source.isSet(field)) {
          summary.set(field, source.get(field));
        }
      }
      record(toRedactedJson(schema, summary.message));
    }
    isFirst = false;
    yield message;
  }
}

/** Returns whether a method is audited: one that changes data, except for events that are each a row of their own. */
function isAudited(method: DescMethod, policies: ReadonlyMap<string, MethodPolicy>): boolean {
  const policy = policies.get(methodKey(method));
  if (policy === undefined || isReadMethod(method)) return false;
  return policy.rateLimit?.class !== RateLimitClass.INGEST || method.methodKind === "client_streaming";
}

/** Returns the role to record for callers who may change other people's data; undefined for the others. */
function auditedRole(principal: Principal): string | undefined {
  if (principal.kind === "service") return "SERVICE";
  return principal.kind === "account" && principal.role !== "CUSTOMER" ? principal.role : undefined;
}

/** Returns the request as JSON, without the fields that the contract marks with debug_redact. */
function toRedactedJson(schema: DescMessage, message: Message): string {
  const copy = clone(schema, message);
  redact(reflect(schema, copy));
  const text = toJsonString(schema, copy);
  return truncated(text, MAX_REQUEST_LENGTH);
}

function redact(message: ReflectMessage): void {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    if (field.proto.options?.debugRedact === true) message.clear(field);
    else if (field.fieldKind === "message") redact(message.get(field));
    else if (field.fieldKind === "list" && field.listKind === "message") {
      for (const item of message.get(field)) if (isReflectMessage(item)) redact(item);
    }
  }
}

function isReflectMessage(value: unknown): value is ReflectMessage {
  return typeof value === "object" && value !== null && "fields" in value && "clear" in value;
}
