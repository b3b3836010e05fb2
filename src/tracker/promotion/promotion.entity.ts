import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";

/** A period in which purchases are counted. Its state follows from its times and the clock. */
export const PromotionEntity = defineEntity({
  name: "Promotion",
  tableName: "promotion",
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    startAt: timestamp(),
    endAt: timestamp().nullable(),
    purchaseLimit: p.bigint("bigint"),
    purchaseLimitPerUser: p.bigint("bigint"),
    /** Sum of the purchases that unpaid orders hold; 0 without limits. */
    heldPurchases: p.bigint("bigint").default(0),
    version: p.integer().version(),
    createdAt: timestamp(),
  },
  checks: [
    { name: "promotion_end_after_start", expression: "end_at >= start_at" },
    {
      name: "promotion_limits_not_negative",
      expression: "purchase_limit >= 0 and purchase_limit_per_user >= 0",
    },
    { name: "promotion_held_purchases_not_negative", expression: "held_purchases >= 0" },
  ],
});
