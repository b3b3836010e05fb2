import type { ClientBase } from "pg";
import { SEED_CATEGORIES } from "../generate/categories.ts";
import { createTimeOf } from "../generate/seed-id.ts";

/** Writes the brands that are missing, in one order, so that two seeds never wait for each other in a circle. */
export async function writeBrands(client: ClientBase): Promise<void> {
  const names = new Set(SEED_CATEGORIES.flatMap(({ brands }) => brands));
  await client.query(
    "insert into brand (name, created_at) select name, $2 from unnest($1::text[]) as name order by name on conflict do nothing",
    [[...names], createTimeOf(0)],
  );
}
