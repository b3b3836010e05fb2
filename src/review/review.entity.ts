import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../infra/postgres/columns.ts";

/** A customer's rating of a product, with an optional text. */
export const ReviewEntity = defineEntity({
  name: "Review",
  tableName: "review",
  properties: {
    id: p.uuid().primary(),
    productId: p.uuid(),
    customerId: p.uuid(),
    authorName: p.text(),
    rating: p.smallint(),
    title: p.text(),
    body: p.text(),
    createdAt: timestamp(),
  },
  uniques: [{ name: "review_customer_unique", properties: ["customerId", "productId"] }],
  indexes: [{ name: "review_product", properties: ["productId", "id"] }],
  checks: [{ name: "review_rating_in_range", expression: "rating between 1 and 5" }],
});
