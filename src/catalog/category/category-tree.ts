import { sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { invalidField, notFound } from "../../kernel/errors.ts";

/** Maximum number of levels of the category tree. */
export const MAX_DEPTH = 8;
/** Advisory lock ("tree" in ASCII) that serializes moves of categories, so that two of them cannot form a cycle. */
const TREE_LOCK = 0x74726565;

const findSubtree = prepare<[id: string], { id: string }>(
  (id) => sql`
    with recursive subtree (id, depth) as (
      select ${id}::uuid, 1
      union all
      select category.id, depth + 1 from category join subtree on parent_id = subtree.id
      where depth < ${sql.lit(MAX_DEPTH)}
    )
    select id from subtree`,
);

/** Returns the ids of a category and its descendants; none for an empty id. */
export async function readSubtree(db: Database, call: Call, categoryId: string): Promise<string[]> {
  if (categoryId === "") return [];
  const rows = await db.read(call, findSubtree(categoryId));
  return rows.map(({ id }) => id);
}

const findIdBySlug = prepare<[slug: string], { id: string }>(
  (slug) => sql`select id from category where slug = ${slug}`,
);

/**
 * Returns the id of the category that an id or a slug names; empty when both are empty.
 * @throws AppError not_found for an unknown slug, invalid_argument when the slug is that of another category
 */
export async function resolveCategoryId(
  db: Database,
  call: Call,
  { categoryId, categorySlug }: { categoryId: string; categorySlug: string },
): Promise<string> {
  if (categorySlug === "") return categoryId;
  const [found] = await db.read(call, findIdBySlug(categorySlug));
  if (found === undefined) throw notFound("category", categorySlug);
  if (categoryId === "" || categoryId === found.id) return found.id;
  throw invalidField("category_slug", "must name the same category as category_id");
}

/**
 * Checks that a category can be a child of `parentId`; an empty `parentId` means the top level.
 * @throws AppError not_found for an unknown parent, invalid_argument when the parent is the category itself or one
 *   of its descendants, or the tree would be deeper than `MAX_DEPTH`
 */
export async function assertParent(tx: Tx, id: string, parentId: string): Promise<void> {
  if (parentId === "") return;
  await tx.query(sql`select pg_advisory_xact_lock(${TREE_LOCK})`);
  const ancestors = await tx.query(sql<{ id: string }>`
    with recursive ancestor as (
      select id, parent_id, 1 as depth from category where id = ${parentId}
      union all
      select category.id, category.parent_id, depth + 1
      from category join ancestor on category.id = ancestor.parent_id where depth < ${MAX_DEPTH}
    ) select id from ancestor`);
  const [subtree] = await tx.query(sql<{ depth: number }>`
    with recursive subtree as (
      select id, 1 as depth from category where id = ${id}
      union all
      select category.id, depth + 1 from category join subtree on category.parent_id = subtree.id
      where depth < ${MAX_DEPTH}
    ) select max(depth) as depth from subtree`);
  if (ancestors.length === 0) throw notFound("category", parentId);
  if (ancestors.some((ancestor) => ancestor.id === id)) {
    throw invalidField(
      "category.parent_id",
      "must not be the category itself or one of its descendants",
      "CATEGORY_CIRCLE",
    );
  }
  if (ancestors.length + (subtree?.depth ?? 1) > MAX_DEPTH) {
    throw invalidField(
      "category.parent_id",
      `would make the tree deeper than ${MAX_DEPTH} levels`,
      "CATEGORY_TOO_DEEP",
    );
  }
}
