import type { DescService } from "@bufbuild/protobuf";
import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { StartupError } from "../../kernel/errors.ts";
import { methodKey, methodPolicy } from "./method-policy.ts";
import { policyErrors } from "./policy-errors.ts";

/**
 * Returns the effective policies of all methods of the services, by `methodKey`.
 * @throws StartupError that lists all missing and invalid policies
 */
export function readPolicies(services: Iterable<DescService>): ReadonlyMap<string, MethodPolicy> {
  const policies = new Map<string, MethodPolicy>();
  const errors: string[] = [];
  for (const method of [...services].flatMap((service) => service.methods)) {
    const key = methodKey(method);
    const policy = methodPolicy(method);
    if (policy === undefined) {
      errors.push(
        `${key}: no policy; set the option (cartwright.policy.v1.method) or a default on the service`,
      );
    } else {
      policies.set(key, policy);
      errors.push(...policyErrors(method, policy).map((error) => `${key}: ${error}`));
    }
  }
  if (errors.length > 0)
    throw new StartupError(`The contracts have invalid policies:\n  ${errors.join("\n  ")}`);
  return policies;
}
