import { type DescMessage, type DescMethod, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import {
  Access,
  type Cache,
  type Deadline,
  field as fieldOption,
  type MethodPolicy,
  RateLimitClass,
  RequestId,
  Scope,
} from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { durationMs, isReadMethod } from "./method-policy.ts";
import { tagTemplateError } from "./tag-template.ts";

/** The longest deadline that a policy can grant, in milliseconds. The server's socket timeouts exceed it. */
export const MAX_DEADLINE_MS = 300_000;

/** Returns the errors of the effective policy of a method and the policies of its fields. */
export function policyErrors(method: DescMethod, policy: MethodPolicy): string[] {
  return [
    ...accessErrors(policy),
    ...rateLimitErrors(policy),
    ...deadlineErrors(method, policy),
    ...requestIdErrors(method, policy),
    ...fieldErrors(method),
    ...(policy.cache === undefined ? [] : cacheErrors(method, policy, policy.cache)),
  ];
}

function accessErrors({ access, scope }: MethodPolicy): string[] {
  const errors: string[] = [];
  if (access === Access.UNSPECIFIED) errors.push("access is not set");
  if (access === Access.PUBLIC && scope !== Scope.UNSPECIFIED) {
    errors.push("scope must not be set on a public method");
  }
  return errors;
}

/** The kinds of access that anonymous callers can have. */
const ANONYMOUS_ACCESS: readonly Access[] = [Access.PUBLIC, Access.GUEST, Access.ORDER_TOKEN];

function rateLimitErrors({ access, rateLimit }: MethodPolicy): string[] {
  const errors: string[] = [];
  if ((rateLimit?.class ?? RateLimitClass.UNSPECIFIED) === RateLimitClass.UNSPECIFIED) {
    errors.push("rate_limit.class is not set");
  }
  const { cost = 0, anonymousCost = 0 } = rateLimit ?? {};
  if (cost < 1) errors.push("rate_limit.cost must be at least 1");
  if (anonymousCost === 0) return errors;
  if (anonymousCost <= cost) errors.push("rate_limit.anonymous_cost must be more than rate_limit.cost");
  if (!ANONYMOUS_ACCESS.includes(access)) {
    errors.push("rate_limit.anonymous_cost requires an access of anonymous callers");
  }
  return errors;
}

function deadlineErrors(method: DescMethod, { deadline }: MethodPolicy): string[] {
  if (deadline === undefined) return ["deadline is not set"];
  if (deadline.unlimited) return unlimitedErrors(method, deadline);
  const defaultMs = durationMs(deadline.default);
  const maxMs = durationMs(deadline.max);
  const errors: string[] = [];
  if (!(defaultMs > 0)) errors.push("deadline.default must be more than 0");
  if (maxMs < defaultMs) errors.push("deadline.max must not be less than deadline.default");
  if (maxMs > MAX_DEADLINE_MS) errors.push(`deadline.max must be at most ${MAX_DEADLINE_MS / 1_000} s`);
  return errors;
}

function unlimitedErrors(method: DescMethod, deadline: Deadline): string[] {
  const errors: string[] = [];
  if (method.methodKind !== "server_streaming") {
    errors.push("deadline.unlimited requires a method with one request and a stream of responses");
  }
  if (!isReadMethod(method)) errors.push("deadline.unlimited requires a method with NO_SIDE_EFFECTS");
  if (deadline.default !== undefined || deadline.max !== undefined) {
    errors.push("deadline.default and deadline.max must not be set with deadline.unlimited");
  }
  return errors;
}

function requestIdErrors(method: DescMethod, { requestId }: MethodPolicy): string[] {
  const isDeclared = requestId !== RequestId.UNSPECIFIED;
  const hasField = method.input.fields.some(
    (field) =>
      field.name === "request_id" && field.fieldKind === "scalar" && field.scalar === ScalarType.STRING,
  );
  const { typeName } = method.input;
  const errors: string[] = [];
  if (isDeclared && isReadMethod(method)) {
    errors.push("request_id must not be set on a method with NO_SIDE_EFFECTS");
  }
  if (isDeclared && !hasField)
    errors.push(`request_id is set, but ${typeName} has no string field request_id`);
  if (!isDeclared && hasField) errors.push(`request_id is not set, but ${typeName} has a field request_id`);
  return errors;
}

function cacheErrors(method: DescMethod, { access }: MethodPolicy, cache: Cache): string[] {
  const errors: string[] = [];
  if (!isReadMethod(method)) errors.push("cache requires a method with NO_SIDE_EFFECTS");
  if (access !== Access.PUBLIC) errors.push("cache requires ACCESS_PUBLIC, because callers share responses");
  if (method.methodKind !== "unary") errors.push("cache requires a unary method");
  if (!(durationMs(cache.freshFor) > 0)) errors.push("cache.fresh_for must be more than 0");
  if (durationMs(cache.staleWhileRevalidate) < 0) {
    errors.push("cache.stale_while_revalidate must not be negative");
  }
  if (cache.tags.length === 0) errors.push("cache.tags is empty; no write could invalidate a response");
  if (cache.httpMaxAge !== undefined && durationMs(cache.httpMaxAge) < 0) {
    errors.push("cache.http_max_age must not be negative");
  }
  const tagErrors = (name: string, tags: readonly string[], message: DescMessage) => {
    for (const tag of tags) {
      const error = tagTemplateError(message, tag);
      if (error !== undefined) errors.push(`${name}: ${error}`);
    }
  };
  tagErrors("cache.tags", cache.tags, method.input);
  tagErrors("cache.response_tags", cache.responseTags, method.output);
  return errors;
}

/** The server checks the policies of direct request fields only: one on a nested field would have no effect. */
function fieldErrors(method: DescMethod): string[] {
  const errors: string[] = [];
  for (const field of method.input.fields) {
    const access = hasOption(field, fieldOption) ? getOption(field, fieldOption).access : undefined;
    if (access === Access.UNSPECIFIED) errors.push(`${field.name}: access is not set`);
    if (access === Access.GUEST || access === Access.ORDER_TOKEN) {
      errors.push(
        `${field.name}: access must not be ACCESS_GUEST or ACCESS_ORDER_TOKEN, which are for methods`,
      );
    }
    const nested = findFieldWithPolicy(field.message, new Set());
    if (nested !== undefined) {
      errors.push(`${field.name}: ${nested} has a policy, but only direct fields of a request can have one`);
    }
  }
  return errors;
}

function findFieldWithPolicy(message: DescMessage | undefined, seen: Set<DescMessage>): string | undefined {
  if (message === undefined || seen.has(message)) return undefined;
  seen.add(message);
  for (const field of message.fields) {
    if (hasOption(field, fieldOption)) return `${message.name}.${field.name}`;
    const nested = findFieldWithPolicy(field.message, seen);
    if (nested !== undefined) return nested;
  }
  return undefined;
}
