import { expect, test } from "vitest";
import { entities } from "../../src/entities.ts";
import { migrate } from "../../src/infra/postgres/migrate.ts";
import { silentLog } from "../support/log.ts";
import { writeLongResults } from "../support/long/long-results.ts";
import { migrateToFormer, seedFormerShop } from "../support/migration/former-database.ts";
import { startFormerReplica } from "../support/migration/former-replica.ts";
import { createTestDatabase } from "../support/stores/database.ts";
import { findViolations } from "../support/stores/invariants.ts";

const SHOP = { products: 1_000_000, orders: 500_000 };
const CLIENTS = 4;

test("1,000,000 products are migrated while an old replica reads and writes", async () => {
  const database = await createTestDatabase("template1");
  try {
    await migrateToFormer(database.url);
    await seedFormerShop(database, SHOP);
    await database.query("vacuum analyze");
    const locks: number[] = [];
    const log = {
      ...silentLog,
      debug: (fields: Record<string, unknown>) => {
        if (typeof fields.lockedMs === "number") locks.push(fields.lockedMs);
      },
    };
    const replica = startFormerReplica(database.url, { clients: CLIENTS, products: SHOP.products });
    await expect.poll(() => replica.committed.order).toBeGreaterThan(100);
    const before = replica.committed.order;
    const startMs = performance.now();
    await migrate(database.url, entities, log);
    const durationMs = performance.now() - startMs;
    await replica.ended;

    expect(replica.errors).toEqual(Array.from({ length: CLIENTS }, () => "42703"));
    expect(await findViolations(database.url)).toEqual([]);
    const ms = (value: number) => `${Math.round(value)} ms`;
    writeLongResults(
      "Online migration",
      ["products", "orders", "duration", "orders meanwhile", "longest lock", "longest read", "longest write"],
      [
        [
          SHOP.products.toLocaleString("en"),
          SHOP.orders.toLocaleString("en"),
          `${Math.round(durationMs / 1_000)} s`,
          String(replica.committed.order - before),
          ms(Math.max(...locks)),
          ms(replica.longestMs.read),
          ms(replica.longestMs.write),
        ],
      ],
    );
  } finally {
    await database.drop();
  }
});
