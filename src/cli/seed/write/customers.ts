import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import type { SeedCustomer } from "../generate/customers.ts";
import { placeOrders } from "./orders.ts";
import { writePurchases } from "./purchases.ts";
import { writeReviews } from "./reviews.ts";

/** Numbers of added rows. */
export interface AddedCounts {
  customers: number;
  orders: number;
  purchases: number;
}

/**
 * Writes the missing customers with their orders, reviews and purchases. Existing customers get none, so that a
 * repeated run adds nothing.
 * @param originMs time of the first run, in milliseconds since 1970
 */
export async function writeCustomers(
  tx: Tx,
  customers: readonly SeedCustomer[],
  originMs: number,
): Promise<AddedCounts> {
  const added = await insertCustomers(tx, customers);
  const orders = await placeOrders(tx, added, originMs);
  await writeReviews(tx, orders, new Map(added.map(({ id, name }) => [id, name])), originMs);
  const purchases = await writePurchases(tx, added, orders, originMs);
  return { customers: added.length, orders: orders.length, purchases };
}

/**
 * Inserts the missing customers.
 * @returns the added customers, without those whose email is taken
 */
async function insertCustomers(tx: Tx, customers: readonly SeedCustomer[]): Promise<SeedCustomer[]> {
  const column = (value: (customer: SeedCustomer) => string) => customers.map(value);
  const rows = await tx.query(sql<{ id: string }>`
    insert into customer (id, email, name, created_at, updated_at)
    select id, email, name, at, at from unnest(
      ${column(({ id }) => id)}::uuid[], ${column(({ email }) => email)}::text[],
      ${column(({ name }) => name)}::text[], ${column(({ createdAt }) => createdAt)}::timestamptz[]
    ) as item (id, email, name, at)
    on conflict do nothing
    returning id`);
  const addedIds = new Set(rows.map(({ id }) => id));
  return customers.filter(({ id }) => addedIds.has(id));
}
