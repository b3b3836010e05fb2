import type { TestShop } from "../shop.ts";

let count = 0;

/** Creates a product. @returns its id */
export async function createProduct({ catalog }: TestShop, units = 10n): Promise<string> {
  count++;
  const { category } = await catalog.createCategory({ category: { slug: `c-${count}`, name: "Tools" } });
  const { product } = await catalog.createProduct({
    product: {
      sku: `SKU-${count}`,
      name: `Hammer ${count}`,
      categoryId: category?.id,
      price: { currencyCode: "EUR", minorUnits: 1999n },
      stockQuantity: units,
    },
  });
  return product?.id ?? "";
}
