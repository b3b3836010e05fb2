import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { StockReason as StockReasonMessage } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import type {
  AdjustStockRequest,
  CatalogService,
} from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import type {
  StockAdjustment as StockAdjustmentMessage,
  StockAdjustmentResultSchema,
  StockMovementSchema,
} from "../../../gen/cartwright/catalog/v1/stock_pb.ts";
import type {
  MovementReason,
  StockAdjustment,
  StockMovement,
  StockReason,
} from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import type { Catalog } from "../catalog.ts";
import { toTimeBound } from "../time-bound.rpc.ts";
import type { AdjustmentResult } from "./batch-adjust-stock.ts";

/** The reasons that callers can give. */
const REASONS = new Map<StockReasonMessage, StockReason>([
  [StockReasonMessage.RECOUNT, "RECOUNT"],
  [StockReasonMessage.RECEIVED, "RECEIVED"],
  [StockReasonMessage.DAMAGED, "DAMAGED"],
  [StockReasonMessage.RETURNED, "RETURNED"],
  [StockReasonMessage.CORRECTION, "CORRECTION"],
]);

const MOVEMENT_REASONS = new Map<StockReasonMessage, MovementReason>([
  ...REASONS,
  [StockReasonMessage.INITIAL, "INITIAL"],
  [StockReasonMessage.ORDER, "ORDER"],
  [StockReasonMessage.CANCEL, "CANCEL"],
  [StockReasonMessage.EXPIRE, "EXPIRE"],
  [StockReasonMessage.SHIP, "SHIP"],
  [StockReasonMessage.ORDER_RETURN, "ORDER_RETURN"],
]);

/** Creates the handlers of BatchAdjustStock and ListStockMovements. */
export function stockRpc(
  catalog: Pick<Catalog, "batchAdjustStock" | "listStockMovements">,
  getCall: (context: HandlerContext) => Call,
) {
  return {
    async batchAdjustStock({ adjustments, requestId }, context) {
      const batch = { adjustments: adjustments.map(fromAdjustment), requestId };
      return { results: (await catalog.batchAdjustStock(getCall(context), batch)).map(toResultMessage) };
    },

    async listStockMovements({ pageSize, pageToken, productId, orderId, reason, ...times }, context) {
      const page = await catalog.listStockMovements(getCall(context), {
        pageSize,
        pageToken,
        productId: productId.toLowerCase(),
        orderId: orderId.toLowerCase(),
        reason: MOVEMENT_REASONS.get(reason),
        minCreateTime: toTimeBound(times.minCreateTime),
        maxCreateTime: toTimeBound(times.maxCreateTime),
      });
      return { movements: page.items.map(toMovementMessage), nextPageToken: page.nextPageToken };
    },
  } satisfies Pick<ServiceImpl<typeof CatalogService>, "batchAdjustStock" | "listStockMovements">;
}

/** Converts a change of stock, of a request or of a line of a batch. Ids become lower case, as PostgreSQL writes UUIDs. */
export function fromAdjustment(message: AdjustStockRequest | StockAdjustmentMessage): StockAdjustment {
  const { productId, delta, onHandQuantity, expectedQuantity, reason, effectiveTime } = message;
  return {
    productId: productId.toLowerCase(),
    delta,
    expectedQuantity,
    countedOnHand: onHandQuantity,
    reason: REASONS.get(reason) ?? "CORRECTION",
    effectiveTime: effectiveTime && timestampDate(effectiveTime),
  };
}

function toResultMessage(result: AdjustmentResult): MessageInitShape<typeof StockAdjustmentResultSchema> {
  return "error" in result
    ? { result: { case: "error", value: result.error } }
    : { result: { case: "stock", value: result.stock } };
}

function toMovementMessage(movement: StockMovement): MessageInitShape<typeof StockMovementSchema> {
  return {
    ...movement,
    reason: StockReasonMessage[movement.reason],
    effectiveTime: timestampFromDate(movement.effectiveTime),
    createTime: timestampFromDate(movement.createTime),
  };
}
