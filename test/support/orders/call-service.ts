import { ConnectError } from "@connectrpc/connect";
import { type Product, StockReason } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { ImportMode } from "../../../gen/cartwright/catalog/v1/import_pb.ts";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { failureOf } from "../errors.ts";
import { createRow, importRows } from "../import/import-rows.ts";
import type { Clients } from "../shop.ts";
import { callCreateOrder, callOrderRead, callOrderWrite } from "./call-orders.ts";
import type { Fixture } from "./model/fixture.ts";
import type {
  KnownIds,
  Observation,
  Operation,
  Outcome,
  PassExpireTime,
  StockWrite,
} from "./model/operation.ts";
import { requestIdOf } from "./request-ids.ts";

/** An operation that is one call of the service. */
export type ServiceOperation = Exclude<Operation, PassExpireTime>;

/** Reasons of failures after which it is unknown whether a write took effect. */
const UNKNOWN_REASONS = new Set(["DATABASE_AWAY", "DATABASE_BUSY", "OUTCOME_UNKNOWN", "SERVICE_STOPPING"]);

/** Makes a call of the model to the service, and returns what the model compares. */
export async function callService(
  clients: Clients,
  fixture: Fixture,
  operation: ServiceOperation,
  ids: KnownIds,
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
  operation: ServiceOperation,
  ids: KnownIds,
): Promise<Observation> {
  switch (operation.method) {
    case "CreateOrder":
      return callCreateOrder(clients, fixture, operation);
    case "AdjustStock":
    case "Recount":
    case "ImportProducts":
      return { outcome: await callStockWrite(clients, fixture, operation) };
    case "GetProduct": {
      const id = fixture.productIds[operation.product] ?? "";
      const { product } = await clients.catalog.getProduct({ key: { case: "id", value: id } });
      const inStock = product !== undefined && product.stockQuantity > 0n;
      return { outcome: { code: "OK", inStock, price: Number(product?.price?.minorUnits) } };
    }
    case "QuoteOrder":
    case "GetOrder":
    case "ListOrderEvents":
    case "ListOrders":
      return callOrderRead(clients, fixture, operation, ids);
    default:
      return callOrderWrite(clients, fixture, operation, ids);
  }
}

async function callStockWrite(clients: Clients, fixture: Fixture, operation: StockWrite): Promise<Outcome> {
  const { catalog } = clients;
  const requestId = requestIdOf(fixture, operation.requestId);
  if (operation.method === "ImportProducts") {
    const rows = operation.lines.map(({ product, stock, price }) =>
      createRow(fixture.categorySlug, fixture.skus[product] ?? "", {
        price: { currencyCode: "EUR", minorUnits: BigInt(price) },
        ...(stock === undefined ? {} : { stockQuantity: BigInt(stock) }),
      }),
    );
    const header = { requestId, mode: ImportMode.INCREMENTAL };
    const { updatedCount, unchangedCount } = await importRows(clients, rows, header);
    return { code: "OK", updated: Number(updatedCount), unchanged: Number(unchangedCount) };
  }
  const productId = fixture.productIds[operation.product] ?? "";
  if (operation.method === "Recount") {
    const onHandQuantity = BigInt(operation.onHand);
    const reason = StockReason.RECOUNT;
    const counted = await catalog.adjustStock({ productId, onHandQuantity, reason, requestId });
    return describeStock(counted.product, counted.onHandQuantity);
  }
  const { expected, delta } = operation;
  const { product, onHandQuantity } = await catalog.adjustStock({
    productId,
    delta: BigInt(delta),
    reason: StockReason.CORRECTION,
    requestId,
    ...(expected === undefined ? {} : { expectedQuantity: BigInt(expected) }),
  });
  return describeStock(product, onHandQuantity);
}

function describeStock(product: Product | undefined, onHand: bigint): Outcome {
  return { code: "OK", stock: Number(product?.stockQuantity), onHand: Number(onHand) };
}
