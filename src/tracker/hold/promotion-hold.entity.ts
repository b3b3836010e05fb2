import { defineEntity, p } from "@mikro-orm/postgresql";

/**
 * The purchases of a promotion with limits that an unpaid order has taken. They count towards the limits as if they were
 * recorded. `held_purchases` of the promotion is their sum; both are written while its row is locked.
 */
export const PromotionHoldEntity = defineEntity({
  name: "PromotionHold",
  tableName: "promotion_hold",
  properties: {
    orderId: p.uuid().primary(),
    promotionId: p.uuid(),
    userId: p.text(),
    purchases: p.integer(),
  },
  indexes: [{ name: "promotion_hold_user", properties: ["promotionId", "userId"] }],
  checks: [{ name: "promotion_hold_purchases_positive", expression: "purchases > 0" }],
});
