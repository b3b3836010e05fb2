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
import type { ImportChunk, ImportRow } from "./row.ts";

/** Returns the rules of the contract that a row violates. */
export type RowCheck = (row: ImportRowMessage) => readonly FieldViolation[];

/** Maximum length of a sku in the contract; errors show no more of a longer text. */
const MAX_SKU_LENGTH = 64;

/**
 * Creates the handler of ImportProducts. Rows are validated one by one, so that an invalid one does not fail the call.
 */
export function importRpc(
  catalog: Pick<Catalog, "importProducts">,
  getCall: (context: HandlerContext) => Call,
  checkRow: RowCheck,
) {
  async function* toChunks(requests: AsyncIterable<ImportProductsRequest>): AsyncGenerator<ImportChunk> {
    for await (const { requestId, mode, offset, rows, maxDeletes } of requests) {
      yield {
        requestId: requestId.toLowerCase(),
        mode: mode === ImportMode.FULL ? "FULL" : "INCREMENTAL",
        offset: Number(offset),
        maxDeletes: maxDeletes === undefined ? undefined : Number(maxDeletes),
        rows: rows.map((row) => toRow(row, checkRow(row))),
      };
    }
  }
  return {
    async importProducts(requests, context) {
      const result = await catalog.importProducts(getCall(context), toChunks(requests));
      return {
        rowCount: BigInt(result.rowCount),
        createdCount: BigInt(result.createdCount),
        updatedCount: BigInt(result.updatedCount),
        unchangedCount: BigInt(result.unchangedCount),
        deletedCount: BigInt(result.deletedCount),
        failedCount: BigInt(result.failedCount),
        errors: result.errors.map((error) => ({ ...error, rowNumber: BigInt(error.rowNumber) })),
        replayed: result.replayed,
      };
    },
  } satisfies Partial<ServiceImpl<typeof CatalogService>>;
}

function toRow(row: ImportRowMessage, violations: readonly FieldViolation[]): ImportRow {
  const { sku, name, description, categorySlug, categoryId, brand, price, stockQuantity, imageUri } = row;
  // An invalid sku takes precedence: the row cannot belong to a product.
  const violation = violations.find(({ field }) => field === "sku") ?? violations[0];
  if (violation !== undefined) return { sku: shorten(sku), violation: toStorable(violation) };
  const { currencyCode = "", minorUnits = 0n } = price ?? {};
  return {
    sku,
    fields: {
      name,
      description,
      categorySlug,
      categoryId: categoryId.toLowerCase(),
      brand,
      price: { currencyCode, minorUnits },
      stockQuantity,
      imageUri,
      attributes: row.attributes,
      taxClass: row.taxClass,
      weightGrams: row.weightGrams,
    },
  };
}

/** Replaces NUL, which PostgreSQL cannot store. */
function toStorable({ field, description }: FieldViolation): FieldViolation {
  return { field: field.replaceAll("\0", "\uFFFD"), description };
}

/** Returns the beginning of a sku, without NUL and unpaired surrogates, which PostgreSQL cannot store. */
function shorten(sku: string): string {
  return sku.slice(0, MAX_SKU_LENGTH).toWellFormed().replaceAll("\0", "\uFFFD");
}
