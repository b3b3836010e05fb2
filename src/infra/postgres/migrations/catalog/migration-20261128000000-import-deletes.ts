import { Migration } from "@mikro-orm/migrations";

/** Counts the rows of an import that have no valid sku, because then it must not delete products. */
export class Migration20261128000000 extends Migration {
  override up(): void {
    this.addSql(`alter table "product_import" add "unidentified_count" bigint not null default '0';`);
  }
}
