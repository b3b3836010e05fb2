import { Migration } from "@mikro-orm/migrations";

/**
 * Moves the owner and the fingerprint of CreateOrder requests to their orders, so that a repeat always finds its order.
 * The other requests are remembered for a limited time.
 */
export class Migration20261129020000 extends Migration {
  override up(): void {
    this.addSql("alter table orders add owner text, add fingerprint bytea");
    // The owner of a guest's request is a service or empty, and never the id of a customer.
    this.addSql(`
      update orders set owner = request.owner, fingerprint = request.fingerprint
      from (
        select orders.id, coalesce(customer_id::text, idempotency.owner, '') as owner, idempotency.fingerprint
        from orders left join idempotency on method = 'CreateOrder' and idempotency.request_id = orders.request_id
          and case
            when customer_id is null then idempotency.owner !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
            else idempotency.owner = customer_id::text
          end
      ) as request
      where orders.id = request.id`);
    this.addSql("drop index orders_request_unique");
    this.addSql(`
      alter table orders alter owner set not null,
        add constraint orders_request_unique unique (owner, request_id)`);
    this.addSql("delete from idempotency where method = 'CreateOrder'");
    // Requests are deleted as fast as they are made: without these settings a fifth of the table is free space.
    this.addSql(`
      alter table idempotency set (
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_analyze_scale_factor = 0.05
      )`);
    this.addSql("analyze orders");
  }
}
