import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  ImportMode,
  type ImportProductsRequestSchema,
  type ImportRowSchema,
} from "../../../gen/cartwright/catalog/v1/import_pb.ts";
import type { Clients, TestShop } from "../shop.ts";

/** What a row says. */
export type RowInit = Omit<MessageInitShape<typeof ImportRowSchema>, "$typeName">;
type RequestInit = MessageInitShape<typeof ImportProductsRequestSchema>;

/** What names an import, and what it does with absent products. */
export interface ImportHeader {
  requestId: string;
  mode: ImportMode;
}

/** A new import. */
export function createHeader(mode: ImportMode = ImportMode.INCREMENTAL): ImportHeader {
  return { requestId: randomUUID(), mode };
}

/** A good row in a category, EUR 10.00. */
export function createRow(categorySlug: string, sku: string, more: RowInit = {}): RowInit {
  const plain = {
    sku,
    name: `Product ${sku}`,
    categorySlug,
    price: { currencyCode: "EUR", minorUnits: 1_000n },
  };
  return { ...plain, ...more };
}

/** Rows with the skus `${prefix}1` and up. */
export function createRows(
  categorySlug: string,
  prefix: string,
  count: number,
  more: RowInit = {},
): RowInit[] {
  return Array.from({ length: count }, (_, index) => createRow(categorySlug, `${prefix}${index + 1}`, more));
}

/** Rows as messages, so many in each, from `offset` on. */
export async function* toMessages(
  of: ImportHeader,
  rows: readonly RowInit[],
  { size = 500, offset = 0 } = {},
): AsyncGenerator<RequestInit> {
  for (let at = 0; at === 0 || at < rows.length; at += size) {
    yield { ...of, offset: BigInt(offset + at), rows: rows.slice(at, at + size) };
  }
}

/** Imports rows, and expects no error. */
export function importRows(
  { catalog }: Clients,
  rows: readonly RowInit[],
  of: ImportHeader = createHeader(),
) {
  return catalog.importProducts(toMessages(of, rows));
}

/** Something to wait for. */
export function signal() {
  let give = () => {};
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { give, given };
}

/** A category to import into. */
export async function createCategorySlug({ catalog }: Clients): Promise<string> {
  const slug = `c-${randomUUID().slice(0, 8)}`;
  await catalog.createCategory({ category: { slug, name: slug } });
  return slug;
}

/** How many rows of an import have been written. */
export async function countWrittenRows(shop: TestShop, { requestId }: ImportHeader): Promise<number> {
  const [found] = await shop.database.query<{ count: string }>(
    "select row_count as count from product_import where request_id = $1",
    [requestId],
  );
  return Number(found?.count ?? 0);
}
