import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";

/** The units sold of a product; the row is absent until the first sale. The fill factor is in the migration. */
export const ProductSalesEntity = defineEntity({
  name: "ProductSales",
  tableName: "product_sales",
  properties: {
    productId: p.uuid().primary(),
    purchaseCount: p.bigint("bigint"),
    /** Time since which the popularity in the product's row is not that of the units sold; null when it is. */
    popularityDueAt: timestamp().nullable(),
  },
  indexes: [
    {
      name: "product_sales_popularity_due",
      expression:
        "create index product_sales_popularity_due on product_sales (popularity_due_at, product_id) where popularity_due_at is not null",
    },
  ],
  checks: [{ name: "product_sales_not_negative", expression: "purchase_count >= 0" }],
});
