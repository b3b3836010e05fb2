import type { ClientBase } from "pg";
import { SEED_CATEGORIES, type SeedCategory } from "../generate/categories.ts";
import { createTimeOf, seedId } from "../generate/seed-id.ts";

/** Writes the categories that are missing. @returns the id of each, by slug */
export async function writeCategories(client: ClientBase): Promise<Map<string, string>> {
  const ids = new Map<string, string>();
  for (const [index, { slug, name, parent }] of SEED_CATEGORIES.entries()) {
    ids.set(
      slug,
      await writeCategory(client, index + 1, { slug, name, parentId: parent && ids.get(parent) }),
    );
  }
  return ids;
}

/** Staff may have renamed it, or made another one with its slug: then that one is taken. */
async function writeCategory(
  client: ClientBase,
  number: number,
  { slug, name, parentId }: Pick<SeedCategory, "slug" | "name"> & { parentId: string | undefined },
): Promise<string> {
  const id = seedId("category", number);
  await client.query(
    `insert into category (id, slug, name, parent_id, created_at, updated_at) values ($1, $2, $3, $4, $5, $5)
     on conflict do nothing`,
    [id, slug, name, parentId, createTimeOf(0)],
  );
  const { rows } = await client.query<{ id: string }>(
    "select id from category where id = $1 or slug = $2 order by id <> $1 limit 1",
    [id, slug],
  );
  return rows[0]?.id ?? id;
}
