import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import type { FieldViolation } from "../../../kernel/errors.ts";
import type { CategorizedRow, ProductFields, Reject, ValidRow } from "../row.ts";

/**
 * Returns the rows with the ids of their categories, which cannot be deleted until the transaction ends. Rejects the
 * rows that name no existing category, or different ones by slug and by id.
 */
export async function findCategories(
  tx: Tx,
  rows: readonly ValidRow[],
  reject: Reject,
): Promise<CategorizedRow[]> {
  const slugs = [...new Set(rows.map(({ fields }) => fields.categorySlug))];
  const ids = [...new Set(rows.map(({ fields }) => fields.categoryId))].filter((id) => id !== "");
  const found = await tx.query(sql<{ id: string; slug: string }>`
    select id, slug from category where slug = any(${slugs}::text[]) or id = any(${ids}::uuid[])
    order by id for key share`);
  const slugsById = new Map(found.map(({ id, slug }) => [id, slug]));
  const idsBySlug = new Map(found.map(({ id, slug }) => [slug, id]));
  const categorized: CategorizedRow[] = [];
  for (const row of rows) {
    const { categorySlug, categoryId } = row.fields;
    const id = categorySlug === "" ? categoryId : (idsBySlug.get(categorySlug) ?? "");
    const violation = findViolation(row.fields, id, slugsById);
    if (violation === undefined) categorized.push({ ...row, categoryId: id });
    else reject(row, violation);
  }
  return categorized;
}

/** @param id id of the category with the slug of the fields or, without a slug, their id; empty if there is none */
function findViolation(
  { categorySlug, categoryId }: ProductFields,
  id: string,
  slugsById: ReadonlyMap<string, string>,
): FieldViolation | undefined {
  if (categorySlug === "" && categoryId === "") {
    return { field: "category_slug", description: "is required, unless category_id is given" };
  }
  if (categorySlug !== "" && id === "") {
    return { field: "category_slug", description: "does not name a category" };
  }
  if (categoryId !== "" && !slugsById.has(categoryId)) {
    return { field: "category_id", description: "does not name a category" };
  }
  if (categoryId === "" || categoryId === id) return undefined;
  return { field: "category_id", description: "does not name the same category as category_slug" };
}
