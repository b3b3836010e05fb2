import { clone, type DescMessage, type DescMethod, type Message, toJsonString } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Interceptor } from "@connectrpc/connect";
import type { MethodPolicy } from "../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Principal } from "../kernel/principal.ts";
import { callKey } from "./call.ts";
import { methodKey } from "./policy.ts";

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
    if (call === undefined || role === undefined || !isChange(method) || !policies.has(methodKey(method))) {
      return next(request);
    }
    const text = request.stream ? "" : withoutSecrets(method.input, request.message);
    call.audit = { role, method: methodKey(method), request: text };
    return next(request);
  };
}

/** What is noted of callers who may change other people's things; undefined for the others. */
function roleOf(principal: Principal): string | undefined {
  if (principal.kind === "service") return "SERVICE";
  return principal.kind === "account" && principal.role !== "CUSTOMER" ? principal.role : undefined;
}

function isChange(method: DescMethod): boolean {
  return method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
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
