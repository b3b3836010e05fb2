import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { CatalogService } from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import {
  ImportMode,
  type ImportProductsRequest,
  type ImportRow as ImportRowMessage,
} from "../../../gen/cartwright/catalog/v1/import_pb.ts";
import type { Call } from "../../kernel/call.ts";
import type { FieldViolation } from "../../kernel/errors.ts";
import type { Catalog } from "../catalog.ts";
import type { ImportChunk, ImportRow, RowFault } from "./row.ts";

/** Holds a row to the rules of the contract. @returns its faults */
export type RowCheck = (row: ImportRowMessage) => readonly FieldViolation[];

/** A sku is no longer than this; of a longer text, so much is reported. */
const SHOWN_SKU = 64;

/** ImportProducts on the wire: a stream of rows in, a report out. Rows are checked here, one by one. */
export function importRpc(
  catalog: Pick<Catalog, "importProducts">,
  callOf: (context: HandlerContext) => Call,
  checkRow: RowCheck,
) {
  async function* parts(requests: AsyncIterable<ImportProductsRequest>): AsyncGenerator<ImportChunk> {
    for await (const { requestId, mode, offset, rows } of requests) {
      yield {
        requestId: requestId.toLowerCase(),
        mode: mode === ImportMode.FULL ? "FULL" : "INCREMENTAL",
        offset: Number(offset),
        items: rows.map((row) => toItem(row, checkRow(row))),
      };
    }
  }
  return {
    async importProducts(requests, context) {
      const report = await catalog.importProducts(callOf(context), parts(requests));
      return {
        rowCount: BigInt(report.rowCount),
        createdCount: BigInt(report.createdCount),
        updatedCount: BigInt(report.updatedCount),
        unchangedCount: BigInt(report.unchangedCount),
        deletedCount: BigInt(report.deletedCount),
        failedCount: BigInt(report.failedCount),
        errors: report.errors.map((error) => ({ ...error, rowNumber: BigInt(error.rowNumber) })),
        replayed: report.replayed,
      };
    },
  } satisfies Partial<ServiceImpl<typeof CatalogService>>;
}

function toItem(row: ImportRowMessage, faults: readonly FieldViolation[]): ImportRow {
  const { sku, name, description, categorySlug, brand, price, stockQuantity, imageUri, attributes } = row;
  // That the sku is unreadable counts more than what else is wrong.
  const fault = faults.find(({ field }) => field === "sku") ?? faults[0];
  if (fault !== undefined) return { sku: shown(sku), fault: toFault(fault) };
  const { currencyCode = "", minorUnits = 0n } = price ?? {};
  const goods = { name, description, categorySlug, brand, stockQuantity, imageUri, attributes };
  return { sku, goods: { ...goods, price: { currencyCode, minorUnits } } };
}

/** PostgreSQL keeps neither NUL nor halves of characters. */
function toFault({ field, description }: FieldViolation): RowFault {
  return { field: field.replaceAll("\0", "\uFFFD"), description };
}

function shown(sku: string): string {
  return sku.slice(0, SHOWN_SKU).toWellFormed().replaceAll("\0", "\uFFFD");
}
