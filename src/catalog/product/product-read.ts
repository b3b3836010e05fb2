import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { notFound } from "../../kernel/errors.ts";
import type { PageTokens } from "../../kernel/page.ts";
import { createShopSize } from "../search/popular-stats.ts";
import { listProducts, type ProductList, type ProductListRequest } from "./product-list.ts";
import {
  batchStatement,
  fromRow,
  keyStatement,
  type ProductRow,
  type ProductView,
  readColumns,
} from "./product-query.ts";

/** A product by one of its keys. */
export interface ProductKey {
  column: "id" | "sku";
  value: string;
}

/** The reads of products, as statements that PostgreSQL plans once. */
export function createProductReads({ db, tokens }: { db: Database; tokens: PageTokens }) {
  const readShopSize = createShopSize(db);
  return {
    /** One product. NOT_FOUND when there is none, or it is deleted and `showDeleted` is not set. */
    async get(
      call: Call,
      key: ProductKey,
      { showDeleted, readMask }: { showDeleted: boolean; readMask: readonly string[] },
    ): Promise<ProductView> {
      const columns = readColumns(readMask);
      const [row] = await db.read<ProductRow>(call, keyStatement(key.column, columns, showDeleted), [
        key.value,
      ]);
      if (row === undefined) throw notFound("product", key.value);
      return fromRow(row);
    },

    /** Products by id, in the order of the ids, all or NOT_FOUND. */
    async batch(call: Call, ids: readonly string[], readMask: readonly string[]): Promise<ProductView[]> {
      const columns = readColumns(readMask);
      const rows = await db.read<ProductRow>(call, batchStatement(columns), [ids]);
      const products = new Map(rows.map((row) => [row.id, fromRow(row)]));
      return ids.map((id) => {
        const product = products.get(id.toLowerCase());
        if (product === undefined) throw notFound("product", id);
        return product;
      });
    },

    /** A page of products, with what the request wants counted. */
    list: (call: Call, request: ProductListRequest): Promise<ProductList> =>
      listProducts({ db, tokens, readShopSize }, call, request),
  };
}
