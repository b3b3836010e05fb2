import { create, type DescService, fromJson, type JsonObject, setExtension } from "@bufbuild/protobuf";
import { FieldOptionsSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { FieldPolicySchema, field as fieldPolicy } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { TrackerService } from "../../../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";
import { readPolicies } from "../../../../src/rpc/policy/read-policies.ts";
import { alterService } from "../../../support/rpc/altered-contract.ts";

/** Returns the message with which the server refuses to start with a service; empty if it accepts it. */
function startupError(service: DescService): string {
  try {
    readPolicies([service]);
    return "";
  } catch (error) {
    expect(error).toBeInstanceOf(StartupError);
    return String(error);
  }
}

/** Returns CatalogService with a policy on a field of one of its messages. */
function withFieldPolicy(message: string, field: string, policy: JsonObject): DescService {
  return alterService(CatalogService, (file) => {
    const described = file.messageType
      .find(({ name }) => name === message)
      ?.field.find(({ name }) => name === field);
    if (described === undefined) throw new Error(`no ${message}.${field}`);
    described.options = create(FieldOptionsSchema);
    setExtension(described.options, fieldPolicy, fromJson(FieldPolicySchema, policy));
  });
}

test("the server does not start with a field policy without access", () => {
  const staff = { access: "ACCESS_STAFF" };
  expect(startupError(withFieldPolicy("ListProductsRequest", "brand", staff))).toBe("");
  for (const [policy, error] of [
    [{}, "is not set"],
    [{ access: "ACCESS_GUEST" }, "must not be ACCESS_GUEST or ACCESS_ORDER_TOKEN"],
    [{ access: "ACCESS_ORDER_TOKEN" }, "must not be ACCESS_GUEST or ACCESS_ORDER_TOKEN"],
  ] as const) {
    const service = withFieldPolicy("ListProductsRequest", "brand", policy);
    expect(startupError(service)).toContain(`brand: access ${error}`);
  }
  expect(startupError(withFieldPolicy("ListProductsResponse", "products", staff))).toBe("");
});

test("the server does not start with a policy on a nested field of a request, which it would not check", () => {
  const service = alterService(TrackerService, (file) => {
    const [method] = file.service.flatMap((one) => one.method.filter(({ name }) => name === "ListPurchases"));
    const inner = file.messageType.find(({ name }) => name === "RecordPurchaseResponse")?.field[0];
    if (method === undefined || inner === undefined) throw new Error("the contract has changed");
    // The one message of this file that contains another one of it.
    method.inputType = ".cartwright.tracker.v1.BatchRecordPurchasesResponse";
    inner.options = create(FieldOptionsSchema);
    setExtension(inner.options, fieldPolicy, fromJson(FieldPolicySchema, { access: "ACCESS_STAFF" }));
  });
  expect(startupError(service)).toContain(
    "results: RecordPurchaseResponse.purchase has a policy, but only direct fields",
  );
});
