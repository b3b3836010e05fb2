import { randomUUID } from "node:crypto";
import type { Clients } from "./shop.ts";

/** A category to put products in. */
export async function makeCategory({ catalog }: Clients): Promise<string> {
  // Its name is searched too, and no number is to be in it by chance.
  const slug = `category-${randomUUID()
    .replaceAll("-", "")
    .replaceAll(/\d/g, (digit) => "ghijklmnop"[Number(digit)] ?? "")}`;
  const { category } = await catalog.createCategory({ category: { slug, name: slug } });
  return category?.id ?? "";
}

/** A product with this stock, EUR 10.00 unless said otherwise. */
export async function makeProduct(
  clients: Clients,
  {
    stock,
    minorUnits = 1_000n,
    currencyCode = "EUR",
  }: { stock: bigint; minorUnits?: bigint; currencyCode?: string },
): Promise<string> {
  const sku = `SKU-${randomUUID().slice(0, 13)}`;
  const { product } = await clients.catalog.createProduct({
    product: {
      sku,
      name: `Product ${sku}`,
      categoryId: await makeCategory(clients),
      price: { currencyCode, minorUnits },
      stockQuantity: stock,
    },
  });
  return product?.id ?? "";
}

/** A customer with a fresh email. */
export async function makeCustomer({ customers }: Clients): Promise<string> {
  const { customer } = await customers.createCustomer({
    customer: { email: `${randomUUID()}@example.com`, name: "Somebody" },
  });
  return customer?.id ?? "";
}

/** How many units are left. */
export async function stockOf({ catalog }: Clients, id: string): Promise<bigint> {
  const { product } = await catalog.getProduct({ key: { case: "id", value: id } });
  return product?.stockQuantity ?? -1n;
}
