import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { DeadlineSchema } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { readPolicies } from "../../../../src/rpc/policy/read-policies.ts";
import { withPolicy } from "../../../support/rpc/altered-contract.ts";

/** Reads the policies of a service whose GetProduct is a stream of responses with this deadline. */
function readWithDeadline(deadline: JsonObject, clientStreaming = false) {
  const service = withPolicy(CatalogService, "GetProduct", (policy, method) => {
    method.serverStreaming = true;
    method.clientStreaming = clientStreaming;
    policy.cache = undefined;
    policy.deadline = fromJson(DeadlineSchema, deadline);
    return undefined;
  });
  return readPolicies([service]);
}

test("the server accepts an unlimited deadline of a stream of responses", () => {
  const policies = readWithDeadline({ unlimited: true });
  expect(policies.get("cartwright.catalog.v1.CatalogService/GetProduct")?.deadline?.unlimited).toBe(true);
});

test.each<[name: string, deadline: JsonObject]>([
  ["a default", { unlimited: true, default: "5s" }],
  ["a maximum", { unlimited: true, max: "30s" }],
])("the server does not start with an unlimited deadline and %s", (_, deadline) => {
  expect(() => readWithDeadline(deadline)).toThrow("must not be set with deadline.unlimited");
});

test("the server does not start with an unlimited deadline of a stream of requests", () => {
  expect(() => readWithDeadline({ unlimited: true }, true)).toThrow(
    "requires a method with one request and a stream of responses",
  );
});
