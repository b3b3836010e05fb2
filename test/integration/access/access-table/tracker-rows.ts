import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";
import { makePromotion, purchaseOf } from "../../../support/tracker/promotion-fixtures.ts";
import { type AccessRow, ALL, accessRow, staffRow, withoutSetup } from "./access-row.ts";

/** The methods of TrackerService. */
export const trackerRows: Readonly<Record<string, AccessRow>> = {
  "TrackerService/CreatePromotion": staffRow(
    Scope.TRACKER_WRITE,
    withoutSetup((clients) => makePromotion(clients)),
  ),
  "TrackerService/GetPromotion": accessRow(ALL, async ({ admin }) => {
    const id = await makePromotion(admin);
    return ({ tracker }) => tracker.getPromotion({ id });
  }),
  "TrackerService/ListPromotions": accessRow(
    ALL,
    withoutSetup(({ tracker }) => tracker.listPromotions({})),
  ),
  "TrackerService/EndPromotion": staffRow(Scope.TRACKER_WRITE, async ({ admin }) => {
    const id = await makePromotion(admin);
    return ({ tracker }) => tracker.endPromotion({ id });
  }),
  "TrackerService/RecordPurchase": staffRow(Scope.TRACKER_WRITE, async ({ admin }) => {
    const purchase = purchaseOf(await makePromotion(admin), await makeProduct(admin, { stock: 1n }));
    return ({ tracker }) => tracker.recordPurchase({ purchase });
  }),
  "TrackerService/BatchRecordPurchases": staffRow(Scope.TRACKER_WRITE, async ({ admin }) => {
    const purchase = purchaseOf(await makePromotion(admin), await makeProduct(admin, { stock: 1n }));
    return ({ tracker }) => tracker.batchRecordPurchases({ purchases: [purchase] });
  }),
  "TrackerService/ListPurchases": staffRow(
    Scope.TRACKER_READ,
    withoutSetup(({ tracker }) => tracker.listPurchases({})),
  ),
  "TrackerService/GetPurchaseStats": staffRow(
    Scope.TRACKER_READ,
    withoutSetup(({ tracker }) => tracker.getPurchaseStats({})),
  ),
};
