import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";

/** An import of products with its progress and results. */
export const ProductImportEntity = defineEntity({
  name: "ProductImport",
  tableName: "product_import",
  properties: {
    requestId: p.uuid().primary(),
    mode: p.text(),
    rowCount: p.bigint("bigint").default(0),
    createdCount: p.bigint("bigint").default(0),
    updatedCount: p.bigint("bigint").default(0),
    unchangedCount: p.bigint("bigint").default(0),
    deletedCount: p.bigint("bigint").default(0),
    failedCount: p.bigint("bigint").default(0),
    /** Rejected rows without a valid sku, so that their products are unknown. */
    unidentifiedCount: p.bigint("bigint").default(0),
    /** Ranges of row offsets that are written: several, since batches are written concurrently. */
    taken: p.string().columnType("int8multirange").default("{}"),
    errors: p.json<{ rowNumber: number; sku: string; field: string; description: string }[]>(),
    createdAt: timestamp(),
    finishedAt: timestamp().nullable(),
  },
  indexes: [{ name: "product_import_created", properties: ["createdAt"] }],
  checks: [{ name: "product_import_mode_known", expression: "mode in ('INCREMENTAL', 'FULL')" }],
});

/** Skus of the rows of an unfinished import, those of rejected rows too. */
export const ProductImportSkuEntity = defineEntity({
  name: "ProductImportSku",
  tableName: "product_import_sku",
  properties: { requestId: p.uuid().primary(), sku: p.text().primary() },
});
