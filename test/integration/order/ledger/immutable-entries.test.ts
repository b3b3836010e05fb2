import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  await database.query(
    `insert into ledger_entry (id, gateway, type, reference, amount_minor, currency, source, created_at)
     values (gen_random_uuid(), 'stripe', 'CAPTURED', 'ch_1', 100, 'EUR', 'WEBHOOK', now())`,
  );
});
afterAll(() => database.drop());

test.each([
  "update ledger_entry set amount_minor = 1",
  "delete from ledger_entry",
  "truncate ledger_entry",
  "truncate payment cascade",
  "truncate customer cascade",
])("the ledger rejects: %s", async (statement) => {
  await expect(database.query(statement)).rejects.toThrow("entries of the ledger never change");
  expect(await database.query("select amount_minor from ledger_entry")).toEqual([{ amount_minor: "100" }]);
});
