import {
  create,
  type DescService,
  fromJson,
  type JsonObject,
  setExtension,
  toJson,
} from "@bufbuild/protobuf";
import { FieldOptionsSchema, MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { CustomerService } from "../../../../gen/cartwright/customer/v1/customer_service_pb.ts";
import { IdentityService } from "../../../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { OrderService } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import {
  Access,
  FieldPolicySchema,
  field as fieldPolicy,
  MethodPolicySchema,
} from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { ReviewService } from "../../../../gen/cartwright/review/v1/review_service_pb.ts";
import { TrackerService } from "../../../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { Health } from "../../../../gen/grpc/health/v1/health_pb.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";
import { durationMs, methodKey, readPolicies } from "../../../../src/rpc/policy/policy.ts";
import { altered, start, withPolicy } from "../../../support/rpc-server.ts";

const ours = [CatalogService, CustomerService, IdentityService, OrderService, ReviewService, TrackerService];

function faultsOf(...services: DescService[]): string {
  try {
    readPolicies(services);
    return "";
  } catch (error) {
    expect(error).toBeInstanceOf(StartupError);
    return String(error);
  }
}

test("every method of the contracts has a sound policy", () => {
  const policies = readPolicies(ours);
  expect([...policies.keys()]).toEqual(ours.flatMap((service) => service.methods.map(methodKey)));
  const policy = policies.get("cartwright.catalog.v1.CatalogService/GetProduct");
  expect(policy?.access).toBe(Access.PUBLIC);
  expect(durationMs(policy?.deadline?.default)).toBe(5_000);
});

test("a method without one keeps the server from starting", async () => {
  await expect(start({ services: [CatalogService, Health] })).rejects.toThrow(StartupError);
  const faults = faultsOf(CatalogService, Health);
  expect(faults).toContain("grpc.health.v1.Health/Check: has no option");
  expect(faults).toContain("grpc.health.v1.Health/Watch: has no option");
});

/** What is said of a policy, and a part of it in JSON that is wrong. */
type Case = [fault: string, change: JsonObject];

const freshFor = "1s";
const tags = ["catalog"];

describe.each<[string, DescService, string, Case[]]>([
  [
    "a policy",
    CatalogService,
    "GetProduct",
    [
      ["access is not set", { access: null }],
      ["rate_limit.class is not set", { rateLimit: null }],
      ["rate_limit.class is not set", { rateLimit: { cost: 1 } }],
      ["rate_limit.cost must be at least 1", { rateLimit: { class: "RATE_LIMIT_CLASS_READ" } }],
      ["scope is set, but the method is for everyone", { scope: "SCOPE_ORDERS_READ" }],
      ["deadline is not set", { deadline: null }],
      ["deadline.default must be more than 0", { deadline: { max: "1s" } }],
      ["deadline.max must not be less", { deadline: { default: "5s", max: "4.999s" } }],
      ["deadline.max must be at most 300 s", { deadline: { default: "5s", max: "300.001s" } }],
      ["GetProductRequest has no such string", { requestId: "REQUEST_ID_OPTIONAL" }],
      ["request_id is not for methods with NO_SIDE_EFFECTS", { requestId: "REQUEST_ID_REQUIRED" }],
    ],
  ],
  [
    "a cache",
    CatalogService,
    "GetProduct",
    [
      ["cache is for ACCESS_PUBLIC only", { access: "ACCESS_CUSTOMER" }],
      ["cache.fresh_for must be more than 0", { cache: { tags } }],
      ["cache.tags is empty", { cache: { freshFor } }],
      ["{idd} is no field of", { cache: { freshFor, tags: ["product:{id}", "product:{idd}"] } }],
      ["{} is no field of", { cache: { freshFor, tags: ["product:{}"] } }],
      ["stale_while_revalidate is negative", { cache: { freshFor, tags, staleWhileRevalidate: "-1s" } }],
    ],
  ],
  [
    "a write",
    OrderService,
    "CreateOrder",
    [
      ["cache is for methods with NO_SIDE_EFFECTS only", { cache: { freshFor, tags } }],
      ["has a request_id, but the policy is silent", { requestId: null }],
    ],
  ],
])("%s is refused", (_, service, method, cases) => {
  test.each(cases)("%s", (fault, change) => {
    const changed = withPolicy(service, method, (policy) => {
      const json = Object.assign({}, toJson(MethodPolicySchema, policy), change);
      return fromJson(MethodPolicySchema, json);
    });
    const faults = faultsOf(changed);
    expect(faults).toContain(`/${method}: `);
    expect(faults).toContain(fault);
  });
});

test("a cache is refused for streams", () => {
  const service = withPolicy(CatalogService, "GetProduct", (_, method) => {
    method.serverStreaming = true;
  });
  expect(faultsOf(service)).toContain("cache is for unary methods only");
});

test("a read with a request_id is refused", () => {
  const service = withPolicy(OrderService, "CreateOrder", (_, { options }) => {
    if (options !== undefined) options.idempotencyLevel = MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  });
  expect(faultsOf(service)).toContain("request_id is not for methods with NO_SIDE_EFFECTS");
});

/** The catalogue with a policy on a field of one of its messages. */
function withFieldPolicy(message: string, field: string, policy: JsonObject): DescService {
  return altered(CatalogService, (file) => {
    const described = file.messageType
      .find(({ name }) => name === message)
      ?.field.find(({ name }) => name === field);
    if (described === undefined) throw new Error(`no ${message}.${field}`);
    described.options = create(FieldOptionsSchema);
    setExtension(described.options, fieldPolicy, fromJson(FieldPolicySchema, policy));
  });
}

test("a field with a policy is refused where nobody would look for it, or when it says nothing", () => {
  const staff = { access: "ACCESS_STAFF" };
  expect(faultsOf(withFieldPolicy("ListProductsRequest", "brand", staff))).toBe("");
  expect(faultsOf(withFieldPolicy("ListProductsRequest", "brand", {}))).toContain("brand: access is not set");
  expect(faultsOf(withFieldPolicy("ListProductsResponse", "products", staff))).toBe("");
});

test("a field with a policy within another message of a request is refused: nobody would look for it", () => {
  const service = altered(TrackerService, (file) => {
    const [method] = file.service.flatMap((one) => one.method.filter(({ name }) => name === "ListPurchases"));
    const inner = file.messageType.find(({ name }) => name === "RecordPurchaseResponse")?.field[0];
    if (method === undefined || inner === undefined) throw new Error("the contract has changed");
    // Of all messages of this file this one has others of it within.
    method.inputType = ".cartwright.tracker.v1.BatchRecordPurchasesResponse";
    inner.options = create(FieldOptionsSchema);
    setExtension(inner.options, fieldPolicy, fromJson(FieldPolicySchema, { access: "ACCESS_STAFF" }));
  });
  expect(faultsOf(service)).toContain(
    "results: RecordPurchaseResponse.purchase has a policy, but lies too deep",
  );
});

test("all faults are told at once", () => {
  const catalog = withPolicy(CatalogService, "GetProduct", (policy) => {
    policy.access = Access.UNSPECIFIED;
    policy.deadline = undefined;
  });
  const order = withPolicy(OrderService, "GetOrder", (policy) => {
    policy.rateLimit = undefined;
  });
  const faults = faultsOf(catalog, order, Health);
  expect(faults.split("\n")).toHaveLength(1 + 3 + 2 + 2);
});
