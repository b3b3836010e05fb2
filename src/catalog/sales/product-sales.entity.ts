import { defineEntity, p } from "@mikro-orm/postgresql";

/** The units sold of a product; the row is absent until the first sale. The fill factor is in the migration. */
export const ProductSalesEntity = defineEntity({
  name: "ProductSales",
  tableName: "product_sales",
  properties: {
    productId: p.uuid().primary(),
    purchaseCount: p.bigint("bigint"),
  },
  checks: [{ name: "product_sales_not_negative", expression: "purchase_count >= 0" }],
});
