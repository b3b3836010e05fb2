import { Client } from "pg";
import { seedId } from "./generate/seed-id.ts";

/**
 * Whether nobody has used this shop: it has no customer, no order, and no product, category or promotion but
 * those that a seed has left which was interrupted.
 * @param url a migrated database
 */
export async function isEmptyShop(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const others = (["product", "category", "promotion"] as const).flatMap((kind) => [
      `select from ${kind} where id < '${seedId(kind, 0)}'`,
      `select from ${kind} where id > '${seedId(kind, 999_999_999_999)}'`,
    ]);
    const tests = ["select from customer", "select from orders", ...others].map((rows) => `exists (${rows})`);
    const { rows } = await client.query<{ used: boolean }>(`select ${tests.join(" or ")} as used`);
    return rows[0]?.used === false;
  } finally {
    await client.end();
  }
}
