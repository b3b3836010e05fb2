import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { SEED_CATEGORIES, type SeedCategory } from "../generate/categories.ts";
import { createdAtOf, seedId } from "../generate/seed-id.ts";

/**
 * Writes the missing categories.
 * @returns the ids of all categories by slug
 */
export async function writeCategories(tx: Tx): Promise<Map<string, string>> {
  const ids = new Map<string, string>();
  for (const [index, { slug, name, parent }] of SEED_CATEGORIES.entries()) {
    const parentId = parent === undefined ? null : (ids.get(parent) ?? null);
    ids.set(slug, await writeCategory(tx, index + 1, { slug, name, parentId }));
  }
  return ids;
}

/** Returns the id of the seeded category, which staff may have renamed, or else of another one with its slug. */
async function writeCategory(
  tx: Tx,
  number: number,
  { slug, name, parentId }: Pick<SeedCategory, "slug" | "name"> & { parentId: string | null },
): Promise<string> {
  const id = seedId("category", number);
  const createdAt = createdAtOf(0);
  await tx.query(sql`
    insert into category (id, slug, name, parent_id, created_at, updated_at)
    values (${id}, ${slug}, ${name}, ${parentId}, ${createdAt}, ${createdAt})
    on conflict do nothing`);
  const [stored] = await tx.query(sql<{ id: string }>`
    select id from category where id = ${id} or slug = ${slug} order by id <> ${id} limit 1`);
  return stored?.id ?? id;
}
