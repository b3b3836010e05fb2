import type { MessageInitShape } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import type { Product, ProductSchema } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { ErrorInfoSchema, ResourceInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import type { Clients, TestShop } from "../shop.ts";

type ProductInit = Omit<MessageInitShape<typeof ProductSchema>, "$typeName">;

/** The protocols of most tests. Both must have the same results. */
export const protocols = ["gRPC", "Connect JSON"] as const;

/** Returns the clients of a protocol. */
export function clientsOf(shop: TestShop, protocol: (typeof protocols)[number]): Clients {
  return protocol === "gRPC" ? shop : shop.json;
}

/** The id of a nonexistent resource. */
export const missingId = "00000000-0000-7000-8000-000000000000";

let skuCount = 0;

/** Returns a sku that no other test of the file uses. */
export function freshSku(): string {
  skuCount += 1;
  return `SKU-${skuCount}`;
}

/** Returns the fields of a new product: the required ones and those that a test adds. */
export function productFields(categoryId: string, more: ProductInit = {}): ProductInit {
  const sku = freshSku();
  return { sku, name: sku, categoryId, price: { currencyCode: "EUR", minorUnits: 1_000n }, ...more };
}

/** Creates a product and returns it. */
export async function createProduct(
  { catalog }: Clients,
  categoryId: string,
  more: ProductInit = {},
): Promise<Product> {
  const { product } = await catalog.createProduct({ product: productFields(categoryId, more) });
  return defined(product);
}

/** Returns a product, deleted or not. */
export async function readProduct({ catalog }: Clients, id: string): Promise<Product> {
  const { product } = await catalog.getProduct({ key: { case: "id", value: id }, showDeleted: true });
  return defined(product);
}

/** Returns a value that must be defined. */
export function defined<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the value is undefined");
  return value;
}

/** Returns the domain, resource type and resource name in the error of a call that must fail. */
export async function readResourceInfo(call: Promise<unknown>): Promise<string[]> {
  const error = ConnectError.from(
    await call.then(
      () => new Error("the call succeeded"),
      (reason: unknown) => reason,
    ),
  );
  const [resource] = error.findDetails(ResourceInfoSchema);
  const domain = error.findDetails(ErrorInfoSchema)[0]?.domain;
  return [domain ?? "", resource?.resourceType ?? "", resource?.resourceName ?? ""];
}

/** POSTs a body as it is, valid or not, and returns the HTTP status and the error code. */
export async function postJson(
  shop: TestShop,
  method: string,
  body: string,
): Promise<{ status: number; code: string }> {
  const response = await fetch(`${shop.url}/cartwright.${method}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  const error: unknown = await response.json();
  const code = typeof error === "object" && error !== null && "code" in error ? String(error.code) : "";
  return { status: response.status, code };
}
