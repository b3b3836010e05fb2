import type { ClientBase } from "pg";
import type { SeedCustomer } from "../generate/customers.ts";
import { placeOrders } from "./orders.ts";
import { recordPurchases } from "./purchases.ts";
import { writeReviews } from "./reviews.ts";

/** How many rows were added. */
export interface AddedWithCustomers {
  customers: number;
  orders: number;
  purchases: number;
}

/**
 * Writes the customers that are missing together with all that they bought, in one transaction. Whoever is
 * there already buys nothing, so a repeat adds nothing.
 * @param originMs the time of the first run, milliseconds since 1970
 */
export async function writeCustomers(
  client: ClientBase,
  customers: readonly SeedCustomer[],
  originMs: number,
): Promise<AddedWithCustomers> {
  await client.query("begin");
  try {
    const fresh = await insertCustomers(client, customers);
    const orders = await placeOrders(client, fresh, originMs);
    await writeReviews(client, orders, new Map(fresh.map(({ id, name }) => [id, name])), originMs);
    const purchases = await recordPurchases(client, fresh, orders, originMs);
    await client.query("commit");
    return { customers: fresh.length, orders: orders.length, purchases };
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
}

/** @returns those that were missing, and whose email was free */
async function insertCustomers(
  client: ClientBase,
  customers: readonly SeedCustomer[],
): Promise<SeedCustomer[]> {
  const column = <T>(value: (customer: SeedCustomer) => T) => customers.map(value);
  const { rows } = await client.query<{ id: string }>(
    `insert into customer (id, email, name, created_at, updated_at)
     select id, email, name, at, at from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[])
       as item (id, email, name, at)
     on conflict do nothing
     returning id`,
    [
      column((customer) => customer.id),
      column((customer) => customer.email),
      column((customer) => customer.name),
      column((customer) => customer.createdAt),
    ],
  );
  const fresh = new Set(rows.map((row) => row.id));
  return customers.filter((customer) => fresh.has(customer.id));
}
