import { Migration } from "@mikro-orm/migrations";

/** Adds who has shipped and delivered a fulfillment, and its version. Constant defaults rewrite no row. */
export class Migration20261201000000 extends Migration {
  override up(): void {
    this.addSql(`
      alter table fulfillment
        add column shipped_by text not null default '',
        add column delivered_by text not null default '',
        add column version int not null default 1`);
  }
}
