import { randomUUID } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { DAY_MS } from "../../../src/kernel/durations.ts";
import type { Clients } from "../shop.ts";

/** Returns the time a number of days from now. */
export const inDays = (days: number) => timestampFromDate(new Date(Date.now() + days * DAY_MS));

/** Creates a promotion that is active for ten more days, and returns its id. */
export async function makePromotion(
  { tracker }: Clients,
  limits: { purchaseLimit?: bigint; purchaseLimitPerUser?: bigint } = {},
): Promise<string> {
  const { promotion } = await tracker.createPromotion({
    promotion: { name: "Autumn", startTime: inDays(-10), endTime: inDays(10), ...limits },
  });
  return promotion?.id ?? "";
}

/** Returns a purchase. It defaults to EUR 5.00 by one user. */
export function purchaseOf(
  promotionId: string,
  productId: string,
  changes: { userId?: string; eventId?: string; minorUnits?: bigint } = {},
) {
  const { minorUnits = 500n, ...rest } = changes;
  return {
    eventId: randomUUID(),
    userId: "ann",
    promotionId,
    productId,
    ...rest,
    amount: { currencyCode: "EUR", minorUnits },
  };
}
