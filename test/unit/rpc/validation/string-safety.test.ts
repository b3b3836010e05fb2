import { create } from "@bufbuild/protobuf";
import { StructSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { ProductSchema } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import {
  CreateProductRequestSchema,
  GetCatalogStatsRequestSchema,
  GetProductRequestSchema,
} from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { checkStrings } from "../../../../src/rpc/validation/string-safety.ts";

describe("the check of strings", () => {
  const violationPaths = (
    ...[schema, message]: [Parameters<typeof checkStrings>[0], Parameters<typeof checkStrings>[1]]
  ) => {
    const paths: string[] = [];
    checkStrings(schema, message, (path) => {
      paths.push(path);
      return false;
    });
    return paths;
  };

  test("the check of strings covers fields, map keys and values, oneofs and nested messages", () => {
    const message = create(CreateProductRequestSchema, {
      requestId: "\ud800",
      product: { sku: "\0", price: { currencyCode: "\0" }, attributes: { k: "\udfff", "\0": "" } },
    });
    expect(violationPaths(CreateProductRequestSchema, message)).toEqual([
      "product.sku",
      "product.price.currency_code",
      'product.attributes["k"]',
      'product.attributes["\\u0000"]',
      "request_id",
    ]);
    const one = create(GetProductRequestSchema, { key: { case: "sku", value: "\0" } });
    expect(violationPaths(GetProductRequestSchema, one)).toEqual(["sku"]);
  });

  test("the check of strings covers messages that contain themselves", () => {
    const leaf = create(ValueSchema, { kind: { case: "stringValue", value: "\0" } });
    const list = create(ValueSchema, { kind: { case: "listValue", value: { values: [{}, leaf] } } });
    const struct = create(StructSchema, { fields: { a: list } });
    expect(violationPaths(StructSchema, struct)).toEqual(['fields["a"].list_value.values[1].string_value']);
  });

  test("the check of strings passes messages without strings and messages with valid ones", () => {
    expect(violationPaths(GetCatalogStatsRequestSchema, create(GetCatalogStatsRequestSchema))).toEqual([]);
    expect(
      violationPaths(ProductSchema, create(ProductSchema, { name: "ü", attributes: { a: "b" } })),
    ).toEqual([]);
  });

  test("the check of strings ends when the report returns true", () => {
    let found = 0;
    const message = create(ProductSchema, { sku: "\0", name: "\0", brand: "\0" });
    checkStrings(ProductSchema, message, () => {
      found += 1;
      return found === 2;
    });
    expect(found).toBe(2);
  });
});
