import type { TestDatabase } from "../stores/database.ts";

const KINDS = ["product", "category", "customer", "promotion", "order", "request", "purchase"] as const;

/** Returns the id of the nth row of a kind. */
export function idOf(kind: (typeof KINDS)[number], n: number): string {
  return `${prefixOf(kind)}${n.toString(16).padStart(12, "0")}`;
}

function prefixOf(kind: (typeof KINDS)[number]): string {
  return `0000000${KINDS.indexOf(kind)}-0000-7000-8000-`;
}

/** Returns the same id as SQL, for a number that is an expression. */
function idSql(kind: (typeof KINDS)[number], n: string): string {
  return `('${prefixOf(kind)}' || lpad(to_hex(${n}), 12, '0'))::uuid`;
}

/**
 * Fills a database with products, 15 categories, three of them below the 12th, 20 brands, and for each product an order
 * with one item and one purchase.
 */
export async function fillShop(database: TestDatabase, products: number): Promise<void> {
  const many = `generate_series(1, ${products}) n`;
  const created = `date_trunc('minute', now()) - n % 50000 * interval '1 minute'`;
  // Vacuum marks only rows of flushed commits as visible to all, and index-only scans need the marks.
  await database.query("set synchronous_commit = on");
  // Skips triggers and 500,000 checks of foreign keys.
  await database.query("set session_replication_role = replica");
  await database.query(`
    insert into category (id, slug, name, parent_id, created_at, updated_at)
    select ${idSql("category", "n")}, 'c' || n, 'Category ' || n, case when n between 13 and 15 then ${idSql("category", "12")} end,
      now(), now() from generate_series(1, 15) n`);
  await database.query(`
    insert into product (id, sku, name, description, category_id, brand, currency, price_minor, in_stock,
      rating_average, popularity, image_uri, attributes, created_at, updated_at, deleted_at)
    select ${idSql("product", "n")}, 'SKU-' || n, (array['Large', 'Small', 'Red', 'Blue', 'Fine'])[1 + n % 5] || ' thing ' || n * 7919 % 100003,
      'Good for ' || n % 97, ${idSql("category", "1 + n * 31 % 15")}, 'Brand ' || n * 17 % 20, 'EUR', n::bigint * 7907 % 50000, n % 10 > 0,
      n * 31 % 401 / 100.0 + 1, floor(10 * ln(1 + n * 7919 % 30011)), '', '{}', ${created}, now(), case when n % 50 = 0 then now() end from ${many}`);
  await database.query(
    `insert into inventory (product_id, on_hand) select ${idSql("product", "n")}, n % 10 from ${many}`,
  );
  await database.query(
    `insert into product_sales (product_id, purchase_count) select ${idSql("product", "n")}, n * 7919 % 30011 from ${many}`,
  );
  // Words and counts, which triggers maintain otherwise. The first products contain all words.
  await database.query(
    `insert into search_word select distinct search_words(search) from product where id <= ${idSql("product", "1000")}`,
  );
  await database.query(`
    insert into product_count (category_id, brand, currency, band, product_count, in_stock_count, price_sum)
    select category_id, brand, currency, price_band(price_minor), count(*), count(*) filter (where in_stock), sum(price_minor)
    from product where active group by 1, 2, 3, 4`);
  await database.query(`
    insert into customer (id, email, name, created_at, updated_at)
    select ${idSql("customer", "n")}, 'Buyer' || n || '@example.com', 'Buyer', now(), now() from generate_series(1, ${products / 5}) n`);
  await database.query(`
    insert into promotion (id, name, start_at, purchase_limit, purchase_limit_per_user, created_at)
    select ${idSql("promotion", "n")}, 'Promotion', now(), 0, 0, now() from generate_series(1, 10) n`);
  await database.query(`
    insert into orders (id, customer_id, owner, closing, payment_state, fulfillment_state, currency, total_minor, request_id,
      created_at, updated_at)
    select ${idSql("order", "n")}, ${idSql("customer", "1 + n * 13 % 1000")}, n::text, case when n % 20 = 0 then 'CANCELLED' else 'NONE' end,
      case when n % 50 = 7 then 'PAID' else 'UNPAID' end, case when n % 100 = 7 then 'FULFILLED' else 'UNFULFILLED' end, 'EUR', 1,
      ${idSql("request", "n")}, ${created}, now() from ${many}`);
  await database.query(`
    insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity)
    select ${idSql("order", "n")}, 0, ${idSql("product", "n")}, 'S', 'N', 1, 1 from ${many}`);
  await database.query(`
    insert into purchase (event_id, user_id, promotion_id, product_id, kind, currency, amount_minor, counts, client_address,
      purchased_at, created_at)
    select ${idSql("purchase", "n")}, 'user ' || n % 1000, ${idSql("promotion", "1 + n % 10")}, ${idSql("product", "1 + n * 11 % 1000")}, 'SALE', 'EUR', 1, true, '',
      ${created}, now() from ${many}`);
  await database.query("set session_replication_role = origin");
  await database.query("vacuum analyze");
}
