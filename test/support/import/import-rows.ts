import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  ImportMode,
  type ImportProductsRequestSchema,
  type ImportRowSchema,
} from "../../../gen/cartwright/catalog/v1/import_pb.ts";
import type { Clients, TestShop } from "../shop.ts";

/** Fields of a row. */
export type RowInit = Omit<MessageInitShape<typeof ImportRowSchema>, "$typeName">;
type RequestInit = MessageInitShape<typeof ImportProductsRequestSchema>;

/** Fields that all messages of an import have in common. */
export interface ImportHeader {
  requestId: string;
  mode: ImportMode;
  /** Maximum number of products that mode FULL deletes; undefined for the default of the contract. */
  maxDeletes?: bigint;
}

/** Creates the header of a new import. */
export function createHeader(
  mode: ImportMode = ImportMode.INCREMENTAL,
  limits: Pick<ImportHeader, "maxDeletes"> = {},
): ImportHeader {
  return { requestId: randomUUID(), mode, ...limits };
}

/** Creates a valid row, EUR 10.00. */
export function createRow(categorySlug: string, sku: string, fields: RowInit = {}): RowInit {
  const price = { currencyCode: "EUR", minorUnits: 1_000n };
  return { sku, name: `Product ${sku}`, categorySlug, price, ...fields };
}

/** Creates rows with the skus `${prefix}1` and up. */
export function createRows(
  categorySlug: string,
  prefix: string,
  count: number,
  fields: RowInit = {},
): RowInit[] {
  return Array.from({ length: count }, (_, index) =>
    createRow(categorySlug, `${prefix}${index + 1}`, fields),
  );
}

/** Packs rows into messages of `size` rows; the first row has the offset `offset`. */
export async function* toMessages(
  header: ImportHeader,
  rows: readonly RowInit[],
  { size = 500, offset = 0 } = {},
): AsyncGenerator<RequestInit> {
  for (let at = 0; at === 0 || at < rows.length; at += size) {
    yield { ...header, offset: BigInt(offset + at), rows: rows.slice(at, at + size) };
  }
}

/**
 * Imports rows.
 * @returns the response
 */
export function importRows(
  { catalog }: Clients,
  rows: readonly RowInit[],
  header: ImportHeader = createHeader(),
) {
  return catalog.importProducts(toMessages(header, rows));
}

/**
 * Creates a category to import into.
 * @returns its slug
 */
export async function createCategorySlug({ catalog }: Clients): Promise<string> {
  const slug = `c-${randomUUID().slice(0, 8)}`;
  await catalog.createCategory({ category: { slug, name: slug } });
  return slug;
}

/** Returns the number of rows of an import that are written. */
export async function countWrittenRows(shop: TestShop, { requestId }: ImportHeader): Promise<number> {
  const [found] = await shop.database.query<{ count: string }>(
    "select row_count as count from product_import where request_id = $1",
    [requestId],
  );
  return Number(found?.count ?? 0);
}
