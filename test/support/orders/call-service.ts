import { toBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { type Product, StockReason } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { ImportMode } from "../../../gen/cartwright/catalog/v1/import_pb.ts";
import { type Order, OrderSchema, OrderState } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { failureOf } from "../errors.ts";
import { createRow, importRows } from "../import/import-rows.ts";
import type { Clients } from "../shop.ts";
import type { Fixture } from "./model/fixture.ts";
import type { Observation, Operation, Outcome } from "./model/operation.ts";
import { requestIdOf } from "./request-ids.ts";

/** Reasons of failures after which it is unknown whether a write took effect. */
const UNKNOWN_REASONS = new Set(["DATABASE_AWAY", "DATABASE_BUSY", "OUTCOME_UNKNOWN", "SERVICE_STOPPING"]);

const STATES: Record<OrderState, string> = {
  [OrderState.UNSPECIFIED]: "UNSPECIFIED",
  [OrderState.PENDING]: "PENDING",
  [OrderState.CANCELLED]: "CANCELLED",
  [OrderState.CONFIRMED]: "CONFIRMED",
  [OrderState.EXPIRED]: "EXPIRED",
  [OrderState.COMPLETED]: "COMPLETED",
};

/** Makes a call of the model to the service, and returns what the model compares. */
export async function callService(
  clients: Clients,
  fixture: Fixture,
  operation: Operation,
  ids: ReadonlyMap<string, string>,
): Promise<Observation> {
  const call = observeResponse(clients, fixture, operation, ids);
  return call.catch(async (error: unknown) => {
    // Failures of the service have a reason; those of a connection have none.
    const hasReason = ConnectError.from(error).findDetails(ErrorInfoSchema).length > 0;
    const { code, reason = "" } = await failureOf(Promise.reject(error));
    return { outcome: hasReason && !UNKNOWN_REASONS.has(reason) ? { code, reason } : undefined };
  });
}

async function observeResponse(
  clients: Clients,
  fixture: Fixture,
  operation: Operation,
  ids: ReadonlyMap<string, string>,
): Promise<Observation> {
  const { catalog, orders } = clients;
  const { productIds, customerIds } = fixture;
  switch (operation.method) {
    case "CreateOrder": {
      const { order, replayed } = await orders.createOrder({
        requestId: requestIdOf(fixture, operation.requestId),
        validateOnly: operation.validateOnly,
        order: {
          customerId: customerIds[operation.owner] ?? "",
          promotionId: operation.hasPromotion ? fixture.promotionId : "",
          items: operation.lines.map(({ product, quantity }) => ({
            productId: productIds[product] ?? "",
            quantity: BigInt(quantity),
          })),
        },
      });
      const response = order && Buffer.from(toBinary(OrderSchema, order)).toString("base64");
      return {
        outcome: { ...describe(fixture, order), replayed },
        orderId: order?.id ?? "",
        response: response ?? "",
      };
    }
    case "CancelOrder": {
      const { requestId } = operation;
      const { order } = await orders.cancelOrder({
        id: ids.get(operation.order) ?? "",
        requestId: requestId === undefined ? "" : requestIdOf(fixture, requestId),
      });
      return { outcome: describe(fixture, order) };
    }
    case "AdjustStock": {
      const { expected } = operation;
      const { product, onHandQuantity } = await catalog.adjustStock({
        productId: productIds[operation.product] ?? "",
        delta: BigInt(operation.delta),
        reason: StockReason.CORRECTION,
        requestId: requestIdOf(fixture, operation.requestId),
        ...(expected === undefined ? {} : { expectedQuantity: BigInt(expected) }),
      });
      return { outcome: describeStock(product, onHandQuantity) };
    }
    case "Recount": {
      const { product, onHandQuantity } = await catalog.adjustStock({
        productId: productIds[operation.product] ?? "",
        onHandQuantity: BigInt(operation.onHand),
        reason: StockReason.RECOUNT,
        requestId: requestIdOf(fixture, operation.requestId),
      });
      return { outcome: describeStock(product, onHandQuantity) };
    }
    case "ImportProducts": {
      const rows = operation.lines.map(({ product, stock, price }) =>
        createRow(fixture.categorySlug, fixture.skus[product] ?? "", {
          price: { currencyCode: "EUR", minorUnits: BigInt(price) },
          ...(stock === undefined ? {} : { stockQuantity: BigInt(stock) }),
        }),
      );
      const header = { requestId: requestIdOf(fixture, operation.requestId), mode: ImportMode.INCREMENTAL };
      const { updatedCount, unchangedCount } = await importRows(clients, rows, header);
      return { outcome: { code: "OK", updated: Number(updatedCount), unchanged: Number(unchangedCount) } };
    }
    case "GetOrder": {
      const { order } = await orders.getOrder({ id: ids.get(operation.order) ?? "" });
      return { outcome: describe(fixture, order) };
    }
    case "GetProduct": {
      const id = productIds[operation.product] ?? "";
      const { product } = await catalog.getProduct({ key: { case: "id", value: id } });
      const inStock = product !== undefined && product.stockQuantity > 0n;
      return { outcome: { code: "OK", inStock, price: Number(product?.price?.minorUnits) } };
    }
    case "ListOrders": {
      const keys = new Map([...ids].map(([key, id]) => [id, key]));
      const customerId = customerIds[operation.owner] ?? "";
      const { orders: listed } = await orders.listOrders({ customerId, pageSize: 100 });
      const texts = listed.map(({ id, state }) => `${keys.get(id) ?? "unacknowledged"} ${STATES[state]}`);
      return { outcome: { code: "OK", orders: texts.sort() } };
    }
  }
}

function describe({ productIds }: Fixture, order: Order | undefined) {
  return {
    code: "OK" as const,
    state: order === undefined ? "" : STATES[order.state],
    lines: (order?.items ?? []).map(({ productId, quantity, unitPrice }) => ({
      product: productIds.indexOf(productId),
      quantity: Number(quantity),
      unitPrice: Number(unitPrice?.minorUnits),
    })),
    total: Number(order?.totalPrice?.minorUnits),
    hasPromotion: order !== undefined && order.promotionId !== "",
  };
}

function describeStock(product: Product | undefined, onHand: bigint): Outcome {
  return { code: "OK", stock: Number(product?.stockQuantity), onHand: Number(onHand) };
}
