import { type RawBuilder, sql } from "kysely";
import type { Keyset } from "../../infra/postgres/keyset.ts";
import { keysetOrder } from "../../infra/postgres/keyset.ts";

/** A category of products. */
export interface Category {
  id: string;
  slug: string;
  name: string;
  /** Empty at the top level. */
  parentId: string;
  /** Products in this category that are not deleted; those of its descendants are not included. */
  productCount: bigint;
  etag: string;
  createTime: Date;
  updateTime: Date;
}

/** A category as PostgreSQL returns it. */
export interface CategoryRow {
  id: string;
  slug: string;
  name: string;
  parent_id: string | null;
  version: number;
  created_at: string;
  updated_at: string;
  product_count: string;
}

/** The sort order of lists of categories. */
export const SORT_BY_NAME: Keyset = {
  columns: [
    { name: "name", type: "text" },
    { name: "id", type: "uuid" },
  ],
  descending: false,
};

/**
 * Returns the statement that reads categories by name, with their counts. It selects the categories first, and reads
 * the deltas of the counts once for all of them.
 * @param selection SQL from `where` on
 */
export function selectCategories(selection: RawBuilder<unknown>): RawBuilder<CategoryRow> {
  return sql`
  with page as materialized (
    select * from category ${selection}
  ), delta as (
    select category_id, sum(product_count) as product_count from product_count_delta
    where category_id in (select id from page) group by category_id
  )
  select page.*, coalesce(delta.product_count, 0)
    + coalesce((select sum(product_count) from product_count where category_id = page.id), 0) as product_count
  from page left join delta on category_id = page.id ${keysetOrder(SORT_BY_NAME)}`;
}

/** Returns the category of a row. */
export function categoryFromRow(row: CategoryRow): Category {
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    parentId: row.parent_id ?? "",
    productCount: BigInt(row.product_count),
    etag: String(row.version),
    createTime: new Date(row.created_at),
    updateTime: new Date(row.updated_at),
  };
}
