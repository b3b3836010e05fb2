import { type RawBuilder, sql } from "kysely";

/** Selects purchases. Empty fields select all. */
export interface PurchaseFilter {
  promotionId: string;
  productId: string;
}

/** Returns the conditions of a filter, on purchases as well as on their totals. */
export function purchaseConditions({
  promotionId,
  productId,
}: PurchaseFilter): (RawBuilder<unknown> | undefined)[] {
  return [
    promotionId === "" ? undefined : sql`promotion_id = ${promotionId}`,
    productId === "" ? undefined : sql`product_id = ${productId}`,
  ];
}
