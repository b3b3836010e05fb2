import { Migration } from "@mikro-orm/migrations";

/** Adds the fencing tokens of the lock of hot products. No foreign key, so that no lock on the stock is needed. */
export class Migration20261129100000 extends Migration {
  override up(): void {
    // A small fillfactor reserves space for the versions of a row that is updated with each batch.
    this.addSql(`
      create table stock_fence (
        product_id uuid not null,
        token bigint not null,
        primary key (product_id)
      ) with (fillfactor = 50)`);
  }
}
