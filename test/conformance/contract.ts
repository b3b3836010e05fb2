import { create, setExtension } from "@bufbuild/protobuf";
import { ServiceOptionsSchema } from "@bufbuild/protobuf/wkt";
import {
  Access,
  type MethodPolicy,
  MethodPolicySchema,
  RateLimitClass,
  ServicePolicySchema,
  service as serviceOption,
} from "../../gen/cartwright/policy/v1/policy_pb.ts";
import { MAX_DEADLINE_MS } from "../../src/rpc/policy/policy-errors.ts";
import { alterService, toDuration } from "../support/rpc/altered-contract.ts";
import { ConformanceService } from "./gen/connectrpc/conformance/v1/service_pb.ts";

/** The timeout of calls whose callers set none, which is the longest too, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = MAX_DEADLINE_MS;

/** The policy of all methods: without one they would not take the fast path. Access and rate limits are off. */
const permissivePolicy: MethodPolicy = create(MethodPolicySchema, {
  access: Access.PUBLIC,
  rateLimit: { class: RateLimitClass.READ, cost: 1 },
  deadline: { default: toDuration(DEFAULT_TIMEOUT_MS), max: toDuration(DEFAULT_TIMEOUT_MS) },
});

/** The service of the suite, with a policy. */
export const conformanceService = alterService(ConformanceService, ({ service: [proto] }) => {
  if (proto === undefined) throw new Error("The contract has no service.");
  proto.options ??= create(ServiceOptionsSchema);
  const policies = create(ServicePolicySchema, { read: permissivePolicy, write: permissivePolicy });
  setExtension(proto.options, serviceOption, policies);
});
