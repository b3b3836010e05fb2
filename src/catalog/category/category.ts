import { type RawBuilder, sql } from "kysely";
import { keysetCondition, keysetOrder } from "../../infra/postgres/keyset.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { allOf, prepare, prepareDynamic, type Statement } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { notFound } from "../../kernel/errors.ts";
import type { Ids } from "../../kernel/ids.ts";
import {
  type Cursor,
  type Page,
  type PageRequest,
  type PageTokens,
  resolvePageSize,
} from "../../kernel/page.ts";
import {
  type Category,
  type CategoryRow,
  categoryFromRow,
  SORT_BY_NAME,
  selectCategories,
} from "./category-row.ts";
import {
  type CategoryCreation,
  type CategoryUpdate,
  createCategory,
  deleteCategory,
  updateCategory,
} from "./category-writes.ts";

/** A unique key of a category. */
export type CategoryKey = { id: string } | { slug: string };

/** A request for a page of categories. */
export interface CategoryListRequest extends PageRequest {
  /** Lists the children of this category; empty for all categories. */
  parentId: string;
}

/** The categories of the shop: a tree of at most 8 levels. */
export interface Categories {
  /**
   * Returns a category.
   * @throws AppError not_found for an unknown category
   */
  get(call: Call, key: CategoryKey): Promise<Category>;
  /** Returns a page of categories, sorted by name. */
  list(call: Call, request: CategoryListRequest): Promise<Page<Category>>;
  /**
   * Creates a category.
   * @throws AppError already_exists when the slug is taken, not_found for an unknown parent, invalid_argument when the
   *   tree would become too deep
   */
  create(call: Call, request: CategoryCreation): Promise<Category>;
  /**
   * Changes the fields of the mask. A new parent moves the category with its descendants.
   * @throws AppError as `create` does; not_found for an unknown category, aborted for a stale etag, invalid_argument
   *   when the parent is the category itself or one of its descendants
   */
  update(call: Call, request: CategoryUpdate): Promise<Category>;
  /**
   * Deletes a category without products and children.
   * @throws AppError not_found for an unknown category, aborted for a stale etag, failed_precondition when it is not
   *   empty
   */
  delete(call: Call, id: string, etag: string): Promise<void>;
}

/** Dependencies of the operations on categories. */
export interface CategoriesOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
}

const findById = prepare<[id: string], CategoryRow>((id) => selectCategories(sql`where id = ${id}`));
const findBySlug = prepare<[slug: string], CategoryRow>((slug) =>
  selectCategories(sql`where slug = ${slug}`),
);

/** Creates the operations on categories. */
export function createCategories(options: CategoriesOptions): Categories {
  const { db, tokens } = options;
  return {
    async get(call, key) {
      const statement = "id" in key ? findById(key.id) : findBySlug(key.slug);
      const [row] = await db.read(call, statement);
      if (row === undefined) throw notFound("category", "id" in key ? key.id : key.slug);
      return categoryFromRow(row);
    },
    async list(call, { parentId, ...page }) {
      const query = { list: "categories", parentId };
      const size = resolvePageSize(page.pageSize);
      const cursor = tokens.readCursor(page.pageToken, query);
      const rows = await db.read(call, listStatement(parentId, cursor, size + 1));
      return tokens.createPage(rows, size, query, (row) => [row.name, row.id], categoryFromRow);
    },
    create: (call, request) => createCategory(options, call, request),
    update: (call, request) => updateCategory(options, call, request),
    delete: (call, id, etag) => deleteCategory(options, call, id, etag),
  };
}

function listStatement(parentId: string, after: Cursor | undefined, limit: number): Statement<CategoryRow> {
  const isChild: RawBuilder<unknown> | undefined = parentId === "" ? undefined : sql`parent_id = ${parentId}`;
  const condition = allOf([isChild, keysetCondition(SORT_BY_NAME, after)]);
  return prepareDynamic(
    selectCategories(sql`where ${condition} ${keysetOrder(SORT_BY_NAME)} limit ${limit}`),
  );
}
