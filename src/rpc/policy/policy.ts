import {
  type DescMessage,
  type DescMethod,
  type DescService,
  getOption,
  hasOption,
  ScalarType,
} from "@bufbuild/protobuf";
import { type Duration, MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import {
  Access,
  type Cache,
  field as fieldOption,
  type MethodPolicy,
  method as policyOption,
  RateLimitClass,
  RequestId,
  Scope,
} from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { StartupError } from "../../kernel/errors.ts";

/** The longest deadline that a contract may grant. Timers and idle limits of the server count on it. */
export const longestDeadlineMs = 300_000;

/** How a method is named in the table of policies: `cartwright.catalog.v1.CatalogService/GetProduct`. */
export function methodKey(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

/** A protobuf duration in milliseconds; 0 when absent. */
export function durationMs(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) * 1_000 + duration.nanos / 1_000_000;
}

/**
 * The policies that the contracts of these services declare, by `methodKey`.
 * @throws StartError that names every missing or contradictory policy at once
 */
export function readPolicies(services: Iterable<DescService>): ReadonlyMap<string, MethodPolicy> {
  const policies = new Map<string, MethodPolicy>();
  const faults: string[] = [];
  for (const service of services) {
    for (const method of service.methods) {
      const key = methodKey(method);
      if (!hasOption(method, policyOption)) {
        faults.push(`${key}: has no option (cartwright.policy.v1.method)`);
        continue;
      }
      const policy = getOption(method, policyOption);
      policies.set(key, policy);
      faults.push(...faultsOf(method, policy).map((fault) => `${key}: ${fault}`));
    }
  }
  if (faults.length > 0) {
    throw new StartupError(`The contracts have methods with faulty policies:\n  ${faults.join("\n  ")}`);
  }
  return policies;
}

function faultsOf(method: DescMethod, policy: MethodPolicy): string[] {
  const faults: string[] = [];
  if (policy.access === Access.UNSPECIFIED) faults.push("access is not set");
  if ((policy.rateLimit?.class ?? RateLimitClass.UNSPECIFIED) === RateLimitClass.UNSPECIFIED) {
    faults.push("rate_limit.class is not set");
  }
  if ((policy.rateLimit?.cost ?? 0) < 1) faults.push("rate_limit.cost must be at least 1");
  if (policy.access === Access.PUBLIC && policy.scope !== Scope.UNSPECIFIED) {
    faults.push("scope is set, but the method is for everyone");
  }
  faults.push(...deadlineFaults(policy), ...requestIdFaults(method, policy), ...fieldFaults(method));
  if (policy.cache !== undefined) faults.push(...cacheFaults(method, policy, policy.cache));
  return faults;
}

function deadlineFaults({ deadline }: MethodPolicy): string[] {
  if (deadline === undefined) return ["deadline is not set"];
  const defaultMs = durationMs(deadline.default);
  const maxMs = durationMs(deadline.max);
  const faults: string[] = [];
  if (!(defaultMs > 0)) faults.push("deadline.default must be more than 0");
  if (maxMs < defaultMs) faults.push("deadline.max must not be less than deadline.default");
  if (maxMs > longestDeadlineMs) faults.push(`deadline.max must be at most ${longestDeadlineMs / 1_000} s`);
  return faults;
}

function cacheFaults(method: DescMethod, policy: MethodPolicy, cache: Cache): string[] {
  const faults: string[] = [];
  if (!isRead(method)) faults.push("cache is for methods with NO_SIDE_EFFECTS only");
  if (policy.access !== Access.PUBLIC)
    faults.push("cache is for ACCESS_PUBLIC only: answers would be shared");
  if (method.methodKind !== "unary") faults.push("cache is for unary methods only");
  if (!(durationMs(cache.freshFor) > 0)) faults.push("cache.fresh_for must be more than 0");
  if (durationMs(cache.staleWhileRevalidate) < 0) faults.push("cache.stale_while_revalidate is negative");
  if (cache.tags.length === 0) faults.push("cache.tags is empty: nothing could drop a cached answer");
  for (const tag of cache.tags) {
    for (const [placeholder, field] of tag.matchAll(/\{([^}]*)\}/g)) {
      if (!method.input.fields.some((candidate) => candidate.name === field)) {
        faults.push(`cache.tags: ${placeholder} is no field of ${method.input.typeName}`);
      }
    }
  }
  return faults;
}

/** Fields with a policy are looked for at the top of requests, and nowhere below. */
function fieldFaults(method: DescMethod): string[] {
  const faults: string[] = [];
  for (const field of method.input.fields) {
    if (hasOption(field, fieldOption) && getOption(field, fieldOption).access === Access.UNSPECIFIED) {
      faults.push(`${field.name}: access is not set`);
    }
    const deeper = guardedWithin(field.message, new Set());
    if (deeper !== undefined)
      faults.push(`${field.name}: ${deeper} has a policy, but lies too deep to be held to it`);
  }
  return faults;
}

/** The first field with a policy in a message, at whatever depth. */
function guardedWithin(message: DescMessage | undefined, seen: Set<DescMessage>): string | undefined {
  if (message === undefined || seen.has(message)) return undefined;
  seen.add(message);
  for (const field of message.fields) {
    if (hasOption(field, fieldOption)) return `${message.name}.${field.name}`;
    const deeper = guardedWithin(field.message, seen);
    if (deeper !== undefined) return deeper;
  }
  return undefined;
}

function requestIdFaults(method: DescMethod, policy: MethodPolicy): string[] {
  const declared = policy.requestId !== RequestId.UNSPECIFIED;
  const present = method.input.fields.some(
    (field) =>
      field.name === "request_id" && field.fieldKind === "scalar" && field.scalar === ScalarType.STRING,
  );
  const faults: string[] = [];
  if (declared && isRead(method)) faults.push("request_id is not for methods with NO_SIDE_EFFECTS");
  if (declared && !present) faults.push(`request_id is set, but ${method.input.typeName} has no such string`);
  if (!declared && present)
    faults.push(`${method.input.typeName} has a request_id, but the policy is silent`);
  return faults;
}

function isRead(method: DescMethod): boolean {
  return method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}
