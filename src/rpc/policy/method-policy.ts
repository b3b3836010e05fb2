import { clone, type DescMethod, getOption, hasOption, merge } from "@bufbuild/protobuf";
import { type Duration, MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import {
  Access,
  type MethodPolicy,
  MethodPolicySchema,
  method as methodOption,
  Scope,
  service as serviceOption,
} from "../../../gen/cartwright/policy/v1/policy_pb.ts";

/** Returns the name of a method in maps and logs: `cartwright.catalog.v1.CatalogService/GetProduct`. */
export function methodKey(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

/** Returns a protobuf duration in milliseconds; 0 if it is absent. */
export function durationMs(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) * 1_000 + duration.nanos / 1_000_000;
}

/** Whether the contract declares that a method has no side effects. */
export function isReadMethod(method: DescMethod): boolean {
  return method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

/**
 * Returns the effective policy of a method: the option `(cartwright.policy.v1.method)`, completed by the default of
 * the service for read or write methods. Returns undefined if the contract declares neither, as for the health
 * service of gRPC.
 */
export function methodPolicy(method: DescMethod): MethodPolicy | undefined {
  const { read, write } = getOption(method.parent, serviceOption);
  const inherited = isReadMethod(method) ? read : write;
  if (!hasOption(method, methodOption)) return inherited;
  const own = getOption(method, methodOption);
  return inherited === undefined ? own : override(inherited, own);
}

function override(inherited: MethodPolicy, own: MethodPolicy): MethodPolicy {
  const policy = clone(MethodPolicySchema, inherited);
  // The scope belongs to the access: a public method of a service for staff has none.
  if (own.access !== Access.UNSPECIFIED) policy.scope = Scope.UNSPECIFIED;
  // Merging would append the tags to those of the default.
  if (own.cache !== undefined) delete policy.cache;
  // An unlimited deadline contradicts the default and the maximum of the service.
  if (own.deadline?.unlimited === true) delete policy.deadline;
  merge(MethodPolicySchema, policy, own);
  return policy;
}
