import { create, type DescMethod } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  CatalogService,
  GetProductRequestSchema,
} from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { CacheSchema } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { createCachePlan } from "../../../../src/rpc/policy/cache-plan.ts";

const { getProduct, getCategory } = CatalogService.method;

/** Returns the key of a product's sku, or of the same bytes sent to another method. */
function keyOf(sku: string, method: DescMethod = getProduct): string {
  const request = create(GetProductRequestSchema, { key: { case: "sku", value: sku } });
  return createCachePlan({ ...method, input: GetProductRequestSchema }, create(CacheSchema)).keyOf(request);
}

describe.each([
  ["short", 1],
  ["the longest that is not hashed", 94],
  ["hashed", 95],
  ["long", 5_000],
])("the key of a request that is %s", (_, length) => {
  const sku = "a".repeat(length);

  test("is the same for an equal request", () => {
    expect(keyOf(sku)).toBe(keyOf(sku));
  });

  test("differs for another request and for another method", () => {
    const keys = [keyOf(sku), keyOf(`${sku}a`), keyOf(`${sku.slice(1)}b`), keyOf(sku, getCategory)];
    expect(new Set(keys).size).toBe(keys.length);
  });

  test("is short, and text of base64url", () => {
    expect(keyOf(sku)).toMatch(/^[\w-]{43}(\.[\w-]{1,128})?$/);
  });
});
