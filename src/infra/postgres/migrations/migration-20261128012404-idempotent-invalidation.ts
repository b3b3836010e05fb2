import { Migration } from "@mikro-orm/migrations";

/** Adds the cache tags of a request to its stored result, so that a repeat can repeat their invalidation. */
export class Migration20261128012404 extends Migration {
  override up(): void {
    this.addSql("alter table idempotency add tags text[], add generation bytea");
  }
}
