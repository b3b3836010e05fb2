import { addConstraint } from "../../online/online-schema.ts";
import { hasColumn, type OnlineSession } from "../../online/online-session.ts";
import { withTableLocks } from "../../online/table-locks.ts";

/**
 * Adds the tax class and the weight of products. Their constant defaults are stored in the catalogue of PostgreSQL: no
 * row is rewritten, and replicas of the previous version insert products without them.
 */
export async function addProductShipping(session: OnlineSession): Promise<void> {
  if (!(await hasColumn(session, "product", "weight_grams"))) {
    await withTableLocks(session, { tables: ["product"], mode: "access exclusive" }, async () => {
      await session.client.query(`
        alter table product
          add column tax_class text not null default '',
          add column weight_grams bigint not null default 0`);
    });
  }
  await addConstraint(session, {
    table: "product",
    name: "product_tax_class_valid",
    definition: "check (tax_class ~ '^[a-z0-9_-]{0,32}$')",
  });
  await addConstraint(session, {
    table: "product",
    name: "product_weight_in_range",
    definition: "check (weight_grams between 0 and 1000000000)",
  });
}
