import { Migration } from "@mikro-orm/migrations";

/** Adds the index for lists of the stock ledger without a product. Orders do not write to it. */
export class Migration20261129050000 extends Migration {
  override up(): void {
    this.addSql(
      "create index stock_movement_created on stock_movement (created_at, id) where order_id is null",
    );
  }
}
