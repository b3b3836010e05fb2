import {
  clearExtension,
  create,
  type DescService,
  fromJson,
  type JsonObject,
  type JsonValue,
  setExtension,
  toJson,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel, ServiceOptionsSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { CustomerService } from "../../../../gen/cartwright/customer/v1/customer_service_pb.ts";
import { IdentityService } from "../../../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { OrderService } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import {
  Access,
  MethodPolicySchema,
  method as methodOption,
  RateLimitClass,
  ServicePolicySchema,
  service as servicePolicy,
} from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { ReviewService } from "../../../../gen/cartwright/review/v1/review_service_pb.ts";
import { TrackerService } from "../../../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { Health } from "../../../../gen/grpc/health/v1/health_pb.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";
import { durationMs, methodKey, methodPolicy } from "../../../../src/rpc/policy/method-policy.ts";
import { readPolicies } from "../../../../src/rpc/policy/read-policies.ts";
import { alterService, withPolicy } from "../../../support/rpc/altered-contract.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const services = [
  CatalogService,
  CustomerService,
  IdentityService,
  OrderService,
  ReviewService,
  TrackerService,
];

/** Returns the message with which the server refuses to startRpcServer with these services; empty if it accepts them. */
function startupError(...services: DescService[]): string {
  try {
    readPolicies(services);
    return "";
  } catch (error) {
    expect(error).toBeInstanceOf(StartupError);
    return String(error);
  }
}

test("every method of the contracts has a valid policy", () => {
  const policies = readPolicies(services);
  expect([...policies.keys()]).toEqual(services.flatMap((service) => service.methods.map(methodKey)));
  const policy = policies.get("cartwright.catalog.v1.CatalogService/GetProduct");
  expect(policy?.access).toBe(Access.PUBLIC);
  expect(durationMs(policy?.deadline?.default)).toBe(5_000);
});

test("the server does not start with a method that has no policy", async () => {
  await expect(startRpcServer({ services: [CatalogService, Health] })).rejects.toThrow(StartupError);
  const message = startupError(CatalogService, Health);
  expect(message).toContain("grpc.health.v1.Health/Check: no policy");
  expect(message).toContain("grpc.health.v1.Health/Watch: no policy");
});

describe("the effective policy of a method", () => {
  const defaults = {
    access: "ACCESS_STAFF",
    scope: "SCOPE_TRACKER_READ",
    rateLimit: { class: "RATE_LIMIT_CLASS_READ", cost: 2 },
    deadline: { default: "5s", max: "30s" },
    cache: { freshFor: "60s", tags: ["default"] },
  };

  /** Returns GetProduct with an option of its own, in a service with a default for read and write methods. */
  function effective(
    own: JsonObject | undefined,
    defaultPolicies: JsonObject = { read: defaults },
  ): JsonValue {
    const service = alterService(CatalogService, (file) => {
      const proto = file.service.find(({ name }) => name === CatalogService.name);
      const method = proto?.method.find(({ name }) => name === "GetProduct");
      if (proto === undefined || method?.options === undefined) throw new Error("the contract has changed");
      proto.options ??= create(ServiceOptionsSchema);
      setExtension(proto.options, servicePolicy, fromJson(ServicePolicySchema, defaultPolicies));
      clearExtension(method.options, methodOption);
      if (own !== undefined) setExtension(method.options, methodOption, fromJson(MethodPolicySchema, own));
    });
    const policy = methodPolicy(service.method.getProduct);
    return policy === undefined ? null : toJson(MethodPolicySchema, policy);
  }

  test("the effective policy of a method is the default of the service if the method has no policy of its own", () => {
    expect(effective(undefined)).toEqual(defaults);
    expect(effective({})).toEqual(defaults);
  });

  test("the effective policy of a method is the policy of the method if the service has no default", () => {
    expect(effective({ access: "ACCESS_ADMIN" }, {})).toEqual({ access: "ACCESS_ADMIN" });
    expect(effective(undefined, {})).toBeNull();
  });

  test("the effective policy of a method takes the default for write methods only for methods with side effects", () => {
    expect(effective(undefined, { write: defaults })).toBeNull();
    const write = methodPolicy(CatalogService.method.createProduct);
    expect([write?.access, write?.rateLimit?.class]).toEqual([Access.STAFF, RateLimitClass.WRITE]);
  });

  test("the effective policy of a method inherits the fields of rate_limit and deadline that the method does not set", () => {
    expect(effective({ rateLimit: { cost: 5 }, deadline: { default: "10s" } })).toEqual({
      ...defaults,
      rateLimit: { class: "RATE_LIMIT_CLASS_READ", cost: 5 },
      deadline: { default: "10s", max: "30s" },
    });
  });

  test("the effective policy of a method with an unlimited deadline inherits no default and no maximum", () => {
    const deadline = { unlimited: true };
    expect(effective({ deadline })).toEqual({ ...defaults, deadline });
  });

  test("the effective policy of a method has the cache of the method in place of the default, tags included", () => {
    const cache = { freshFor: "1s", tags: ["own"] };
    expect(effective({ cache })).toEqual({ ...defaults, cache });
  });

  test("the effective policy of a method has the scope of the method alone if the method sets access", () => {
    const { scope: _, ...withoutScope } = defaults;
    expect(effective({ access: "ACCESS_PUBLIC" })).toEqual({ ...withoutScope, access: "ACCESS_PUBLIC" });
    expect(effective({ access: "ACCESS_STAFF", scope: "SCOPE_ORDERS_READ" })).toEqual({
      ...defaults,
      scope: "SCOPE_ORDERS_READ",
    });
    expect(effective({ scope: "SCOPE_ORDERS_READ" })).toEqual({ ...defaults, scope: "SCOPE_ORDERS_READ" });
  });

  test("the effective policy of a method is checked at startup, whether it is declared or inherited", () => {
    const service = alterService(CatalogService, (file) => {
      const proto = file.service.find(({ name }) => name === CatalogService.name);
      if (proto?.options === undefined) throw new Error("the contract has changed");
      clearExtension(proto.options, servicePolicy);
    });
    expect(startupError(service)).toContain("CatalogService/GetProduct: access is not set");
    expect(startupError(service)).toContain("CatalogService/DeleteProduct: no policy");
  });
});

/** A part of the error message, and the invalid part of a policy in JSON. */
type Case = [error: string, change: JsonObject];

const freshFor = "1s";
const tags = ["catalog"];

describe.each<[string, DescService, string, Case[]]>([
  [
    "an invalid policy",
    CatalogService,
    "GetProduct",
    [
      ["access is not set", { access: null }],
      ["rate_limit.class is not set", { rateLimit: null }],
      ["rate_limit.class is not set", { rateLimit: { cost: 1 } }],
      ["rate_limit.cost must be at least 1", { rateLimit: { class: "RATE_LIMIT_CLASS_READ" } }],
      [
        "rate_limit.anonymous_cost must be more than rate_limit.cost",
        { rateLimit: { class: "RATE_LIMIT_CLASS_READ", cost: 2, anonymousCost: 2 } },
      ],
      [
        "rate_limit.anonymous_cost requires an access of anonymous callers",
        {
          access: "ACCESS_CUSTOMER",
          rateLimit: { class: "RATE_LIMIT_CLASS_READ", cost: 1, anonymousCost: 2 },
        },
      ],
      ["scope must not be set on a public method", { scope: "SCOPE_ORDERS_READ" }],
      ["deadline is not set", { deadline: null }],
      ["deadline.default must be more than 0", { deadline: { max: "1s" } }],
      ["deadline.max must not be less", { deadline: { default: "5s", max: "4.999s" } }],
      ["deadline.max must be at most 300 s", { deadline: { default: "5s", max: "300.001s" } }],
      ["deadline.unlimited requires a method with one request", { deadline: { unlimited: true } }],
      ["GetProductRequest has no string field request_id", { requestId: "REQUEST_ID_OPTIONAL" }],
      ["request_id must not be set on a method with NO_SIDE_EFFECTS", { requestId: "REQUEST_ID_REQUIRED" }],
    ],
  ],
  [
    "an invalid cache policy",
    CatalogService,
    "GetProduct",
    [
      ["cache requires ACCESS_PUBLIC", { access: "ACCESS_CUSTOMER" }],
      ["cache.fresh_for must be more than 0", { cache: { tags } }],
      ["cache.tags is empty", { cache: { freshFor } }],
      ["{idd} is not a field of", { cache: { freshFor, tags: ["product:{id}", "product:{idd}"] } }],
      ["{} is not a field of", { cache: { freshFor, tags: ["product:{}"] } }],
      ["{id.sku} is not a field of", { cache: { freshFor, tags: ["product:{id.sku}"] } }],
      [
        "product:{id}:{sku} has more than a placeholder",
        { cache: { freshFor, tags: ["product:{id}:{sku}"] } },
      ],
      [
        "{products.id} is not a field of",
        { cache: { freshFor, tags, responseTags: ["product:{products.id}"] } },
      ],
      ["{product} is not a field of", { cache: { freshFor, tags, responseTags: ["product:{product}"] } }],
      [
        "cache.response_tags: {product.price.units} is",
        { cache: { freshFor, tags, responseTags: ["a:{product.price.units}"] } },
      ],
      [
        "{product.attributes} is not a field of",
        { cache: { freshFor, tags, responseTags: ["a:{product.attributes}"] } },
      ],
      ["http_max_age must not be negative", { cache: { freshFor, tags, httpMaxAge: "-1s" } }],
      [
        "stale_while_revalidate must not be negative",
        { cache: { freshFor, tags, staleWhileRevalidate: "-1s" } },
      ],
    ],
  ],
  [
    "an invalid policy of a write method",
    OrderService,
    "CreateOrder",
    [
      ["cache requires a method with NO_SIDE_EFFECTS", { cache: { freshFor, tags } }],
      ["deadline.unlimited requires a method with NO_SIDE_EFFECTS", { deadline: { unlimited: true } }],
      ["request_id is not set, but cartwright.order.v1.CreateOrderRequest has", { requestId: null }],
    ],
  ],
])("the server does not start with %s", (_, service, method, cases) => {
  test.each(cases)("an invalid policy is reported at startup: %s", (error, change) => {
    const changed = withPolicy(service, method, (policy) => {
      const json = Object.assign({}, toJson(MethodPolicySchema, policy), change);
      return fromJson(MethodPolicySchema, json);
    });
    const message = startupError(changed);
    expect(message).toContain(`/${method}: `);
    expect(message).toContain(error);
  });
});

test("the server does not start with a cache policy on a streaming method", () => {
  const service = withPolicy(CatalogService, "GetProduct", (_, method) => {
    method.serverStreaming = true;
  });
  expect(startupError(service)).toContain("cache requires a unary method");
});

test("the server does not start with a read method that has a request_id", () => {
  const service = withPolicy(OrderService, "CreateOrder", (_, { options }) => {
    if (options !== undefined) options.idempotencyLevel = MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  });
  expect(startupError(service)).toContain("request_id must not be set on a method with NO_SIDE_EFFECTS");
});

test("the error message lists all invalid policies", () => {
  const catalog = withPolicy(CatalogService, "GetProduct", (policy) => {
    policy.access = Access.UNSPECIFIED;
    policy.deadline = undefined;
  });
  const order = withPolicy(OrderService, "GetOrder", (policy) => {
    policy.rateLimit = undefined;
  });
  const message = startupError(catalog, order, Health);
  expect(message.split("\n")).toHaveLength(1 + 3 + 2 + 2);
});
