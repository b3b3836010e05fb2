import { Migration } from "@mikro-orm/migrations";

/** Tables whose foreign keys to products refer to the inventory afterwards: the row that an order locks anyway. */
const REFERRING_TABLES = ["stock_movement", "order_item", "purchase", "purchase_total"];

/**
 * Moves stock and units sold from the product's row to narrow tables. A replica of an older version fails afterwards
 * instead of selling units that are reserved.
 */
export class Migration20261129000000 extends Migration {
  override up(): void {
    this.addSql("lock table product, orders, order_item, stock_movement, purchase, purchase_total");
    this.addInventory();
    this.addSales();
    this.changeMovements();
    for (const table of REFERRING_TABLES) {
      this.addSql(`
        alter table ${table} drop constraint ${table}_product_id_fk,
          add constraint ${table}_product_id_fk foreign key (product_id) references inventory (product_id)`);
    }
    this.addSql("drop index order_item_product");
    this.addSql("drop index product_stock_low");
    this.addSql(`
      alter table product
        alter column in_stock drop expression, alter column in_stock set default false,
        alter column popularity drop expression, alter column popularity set default 0,
        drop column stock_low, drop column stock_quantity, drop column purchase_count`);
    this.addSql("analyze inventory, product_sales");
  }

  private addInventory(): void {
    this.addSql(`
      create table inventory (
        product_id uuid not null,
        on_hand bigint not null,
        reserved bigint not null default 0,
        version bigint not null default 1,
        primary key (product_id)
      ) with (fillfactor = 80)`);
    this.addSql(`
      insert into inventory (product_id, on_hand, reserved)
      select id, stock_quantity + coalesce(units, 0), coalesce(units, 0)
      from product left join (
        select product_id, sum(quantity) as units from order_item join orders on orders.id = order_id
        where state = 'PENDING' group by product_id
      ) as pending on pending.product_id = id
      order by id`);
    this.addSql(`
      alter table inventory
        add constraint inventory_on_hand_in_range check (on_hand between 0 and 4294967296),
        add constraint inventory_reserved_in_range check (reserved between 0 and on_hand),
        add constraint inventory_product_id_fk foreign key (product_id) references product (id)`);
  }

  private addSales(): void {
    this.addSql(`
      create table product_sales (
        product_id uuid not null,
        purchase_count bigint not null,
        popularity_due_at timestamptz(3) null,
        primary key (product_id)
      ) with (fillfactor = 80)`);
    this.addSql(`
      insert into product_sales (product_id, purchase_count)
      select id, purchase_count from product where purchase_count > 0 order by id`);
    this.addSql(`
      alter table product_sales
        add constraint product_sales_not_negative check (purchase_count >= 0),
        add constraint product_sales_product_id_fk foreign key (product_id) references product (id)`);
    this.addSql(`
      create index product_sales_popularity_due on product_sales (popularity_due_at, product_id)
      where popularity_due_at is not null`);
  }

  /** An order reserves units instead of removing them. */
  private changeMovements(): void {
    this.addSql("alter table stock_movement drop constraint stock_movement_delta_not_zero");
    this.addSql("alter table stock_movement rename column delta to on_hand_delta");
    this.addSql("alter table stock_movement alter column on_hand_delta set default 0");
    this.addSql("alter table stock_movement add column reserved_delta bigint not null default 0");
    this.addSql(`
      update stock_movement set reserved_delta = -on_hand_delta, on_hand_delta = 0 where order_id is not null`);
    this.addSql(`
      alter table stock_movement
        add constraint stock_movement_delta_not_zero check (
          on_hand_delta <> 0 or reserved_delta <> 0 or reason = 'RECOUNT'
        ),
        add constraint stock_movement_account_known check (
          case when order_id is null then reserved_delta = 0 else on_hand_delta = 0 end
        )`);
    this.addSql("drop index stock_movement_product");
    this.addSql("create index stock_movement_product on stock_movement (product_id, id)");
    this.addSql(`
      create index stock_movement_recount on stock_movement (product_id, effective_at) where reason = 'RECOUNT'`);
  }
}
