import { Client } from "pg";
import { seedId } from "./generate/seed-id.ts";

/**
 * Returns whether a shop is unused: it has no customers and no orders, and only products, categories and promotions
 * that an interrupted seed has left.
 * @param url a migrated database
 */
export async function isEmptyShop(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const notSeeded = (["product", "category", "promotion"] as const).flatMap((kind) => [
      `select from ${kind} where id < '${seedId(kind, 0)}'`,
      `select from ${kind} where id > '${seedId(kind, 999_999_999_999)}'`,
    ]);
    const queries = ["select from customer", "select from orders", ...notSeeded];
    const conditions = queries.map((query) => `exists (${query})`).join(" or ");
    const { rows } = await client.query<{ used: boolean }>(`select ${conditions} as used`);
    return rows[0]?.used === false;
  } finally {
    await client.end();
  }
}
