import { BATCH_ROWS, type Batch, runInBatches } from "../../online/batches.ts";
import { addNotNull, createIndex } from "../../online/online-schema.ts";
import { hasColumn, type OnlineSession } from "../../online/online-session.ts";
import { withTableLocks } from "../../online/table-locks.ts";

/**
 * Copies the owner and the fingerprint of CreateOrder requests to their orders, so that a repeat always finds its order.
 * A trigger copies those of orders that replicas of the previous version place meanwhile. The stored results of these
 * requests are left to the purge of old requests: the previous version reads them.
 */
export async function copyOrderRequests(session: OnlineSession): Promise<void> {
  const { client } = session;
  await createIndex(
    session,
    "idempotency_order_request",
    "on idempotency (request_id) where method = 'CreateOrder'",
  );
  await addColumns(session);
  await copyRequests(session);
  await addNotNull(session, "orders", "owner");
  await createUniqueIndex(session);
  // Requests are deleted as fast as they are made: without these settings a fifth of the table is free space.
  await client.query(`
    alter table idempotency set (
      autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
      autovacuum_analyze_scale_factor = 0.05
    )`);
  await client.query("analyze orders");
}

/**
 * Returns a query for the request of an order. The owner of a guest's request is a service or empty, and never the id
 * of a customer.
 */
function requestOf(order: string, into = ""): string {
  return `
    select idempotency.owner, idempotency.fingerprint ${into} from idempotency
    where method = 'CreateOrder' and idempotency.request_id = ${order}.request_id
      and case
        when ${order}.customer_id is null then idempotency.owner !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        else idempotency.owner = ${order}.customer_id::text
      end
    limit 1`;
}

/** Adds the columns and the trigger that sets them. Orders without an owner are older than this transaction. */
async function addColumns(session: OnlineSession): Promise<void> {
  if (await hasColumn(session, "orders", "owner")) return;
  const { client } = session;
  await withTableLocks(session, { tables: ["orders"], mode: "access exclusive" }, async () => {
    await client.query("alter table orders add owner text, add fingerprint bytea");
    // The transaction of an order inserts its request first.
    await client.query(`
      create function order_copy_request() returns trigger language plpgsql as $$
      declare
        request record;
      begin
        ${requestOf("new", "into request")};
        new.owner := coalesce(new.customer_id::text, request.owner, '');
        new.fingerprint := request.fingerprint;
        return new;
      end $$`);
    await client.query(`
      create trigger order_copy_request before insert on orders
      for each row when (new.owner is null) execute function order_copy_request()`);
  });
}

/** Copies the requests of the orders that no trigger has copied. */
async function copyRequests(session: OnlineSession): Promise<void> {
  await runInBatches(session, {
    name: "requests of orders",
    countRows: "select count(*) from orders where owner is null",
    first: "00000000-0000-0000-0000-000000000000",
    async migrate(after): Promise<Batch<string> | undefined> {
      // In id order, as other transactions lock orders.
      const { rows } = await session.client.query<{ id: string }>(
        "select id from orders where id > $1 and owner is null order by id limit $2 for no key update",
        [after, BATCH_ROWS],
      );
      const last = rows.at(-1)?.id;
      if (last === undefined) return undefined;
      await session.client.query(
        `update orders set owner = request.owner, fingerprint = request.fingerprint
         from (
           select id, coalesce(customer_id::text, found.owner, '') as owner, found.fingerprint
           from orders left join lateral (${requestOf("orders")}) as found on true where id = any($1::uuid[])
         ) as request
         where orders.id = request.id`,
        [rows.map(({ id }) => id)],
      );
      return { rows: rows.length, last };
    },
  });
}

/** The last migration makes it the constraint orders_request_unique. */
function createUniqueIndex(session: OnlineSession): Promise<void> {
  return createIndex(session, "orders_owner_request", "on orders (owner, request_id)", { isUnique: true });
}
