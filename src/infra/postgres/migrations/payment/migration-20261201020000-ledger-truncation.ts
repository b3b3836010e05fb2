import { Migration } from "@mikro-orm/migrations";

/** Rejects statements that truncate the ledger: they fire no trigger for each row. */
export class Migration20261201020000 extends Migration {
  override up(): void {
    this.addSql(`create trigger ledger_entry_truncation before truncate on ledger_entry
      for each statement execute function reject_ledger_change()`);
  }
}
