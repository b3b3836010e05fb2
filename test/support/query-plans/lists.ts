import type { Catalog } from "../../../src/catalog/catalog.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import type { OrderListRequest } from "../../../src/order/order.ts";
import type { Shop } from "./build-shop.ts";
import { idOf } from "./fill-shop.ts";

export const call = internalCall();
export const firstPage = { pageSize: 20, pageToken: "" };

/** Reads a page of a list. */
export type List = (shop: Shop, pageToken: string) => Promise<{ items: object[] }>;

const all = {
  categoryId: "",
  brand: "",
  categorySlug: "",
  minPrice: undefined,
  maxPrice: undefined,
  query: "",
  orderBy: "",
  minCreateTime: undefined,
  maxCreateTime: undefined,
  inStockOnly: false,
  showDeleted: false,
  readMask: [],
  total: "NONE" as const,
  facets: [],
};

/** Returns a list of products with some filters. */
export function products(more: Partial<Parameters<Catalog["products"]["list"]>[1]>): List {
  return ({ catalog }, pageToken) =>
    catalog.products.list(call, { ...firstPage, ...all, ...more, pageToken });
}

const allOrders = { customerId: "", state: undefined, paymentState: undefined, fulfillmentState: undefined };

function orders(more: Partial<OrderListRequest>): List {
  return (shop, pageToken) => shop.orders.list(call, { ...firstPage, ...allOrders, ...more, pageToken });
}

function purchases(more: { promotionId?: string; productId?: string; userId?: string }): List {
  const all = { promotionId: "", productId: "", userId: "" };
  return ({ tracker }, pageToken) =>
    tracker.listPurchases(call, { ...firstPage, ...all, ...more, pageToken });
}

function customers(email: string): List {
  return (shop, pageToken) =>
    shop.customers.list(call, { ...firstPage, email, showDeleted: false, pageToken });
}

export const category = { categoryId: idOf("category", 3) };
/** A category with three below it. */
export const branch = { categoryId: idOf("category", 12) };
export const brand = { brand: "Brand 7" };
export const promotion = { promotionId: idOf("promotion", 3) };
export const product = { productId: idOf("product", 12) };
export const eur = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });
export const range = { minPrice: eur(20_000n), maxPrice: eur(30_000n) };

const customerId = idOf("customer", 7);
const inCategory = `category_id = '${category.categoryId}'`;
const inBranch = `category_id in (${[12, 13, 14, 15].map((n) => `'${idOf("category", n)}'`).join(", ")})`;
const inRange = "price_minor between 20000 and 30000";
const ofBuyer = `customer_id = '${customerId}'`;
const newest = "created_at desc, id desc";
const latest = "purchased_at desc, event_id desc";

/** A list, the index that serves it, and the same list as SQL: table, condition, order and a distant offset. */
export type PageCase = [
  name: string,
  list: List,
  index: string,
  sql: [table: string, where: string, order: string, offset: number],
];

export const pageCases: PageCase[] = [
  ["products", products({}), "product_pkey", ["product", "active", "id", 80_000]],
  [
    "deleted products too",
    products({ showDeleted: true }),
    "product_pkey",
    ["product", "true", "id", 80_000],
  ],
  [
    "products of a category",
    products(category),
    "product_category_active_id",
    ["product", `active and ${inCategory}`, "id", 6_000],
  ],
  [
    "products by name",
    products({ orderBy: "name" }),
    "product_active_name",
    ["product", "active", "name, id", 80_000],
  ],
  [
    "products by name, descending",
    products({ orderBy: "name desc" }),
    "product_active_name",
    ["product", "active", "name desc, id desc", 80_000],
  ],
  [
    "products by name, deleted ones too",
    products({ orderBy: "name", showDeleted: true }),
    "product_active_name",
    ["product", "true", "name, id", 80_000],
  ],
  [
    "products in stock by name",
    products({ inStockOnly: true, orderBy: "name" }),
    "product_active_name",
    ["product", "active and in_stock", "name, id", 80_000],
  ],
  [
    "products by price",
    products({ orderBy: "price" }),
    "product_price",
    ["product", "active", "price_minor, id", 80_000],
  ],
  [
    "products by price, descending",
    products({ orderBy: "price desc" }),
    "product_price",
    ["product", "active", "price_minor desc, id desc", 80_000],
  ],
  [
    "products of a price range by price",
    products({ ...range, orderBy: "price" }),
    "product_price",
    ["product", `active and ${inRange}`, "price_minor, id", 15_000],
  ],
  [
    "newest products",
    products({ orderBy: "create_time desc" }),
    "product_created",
    ["product", "active", newest, 80_000],
  ],
  [
    "products of a brand by price",
    products({ ...brand, orderBy: "price" }),
    "product_brand_price",
    ["product", "active and brand = 'Brand 7'", "price_minor, id", 4_000],
  ],
  [
    "products of a category by price",
    products({ ...category, orderBy: "price desc" }),
    "product_category_price",
    ["product", `active and ${inCategory}`, "price_minor desc, id desc", 5_000],
  ],
  [
    "products of a category and price range by price",
    products({ ...category, ...range, orderBy: "price" }),
    "product_category_price",
    ["product", `active and ${inCategory} and ${inRange}`, "price_minor, id", 1_000],
  ],
  [
    "most popular products",
    products({ orderBy: "popularity desc" }),
    "product_popularity",
    ["product", "active", "popularity desc, id desc", 80_000],
  ],
  [
    "best rated products",
    products({ orderBy: "rating desc" }),
    "product_rating",
    ["product", "active", "rating_average desc, id desc", 80_000],
  ],
  [
    "products of a category by name",
    products({ ...category, orderBy: "name" }),
    "product_category_name",
    ["product", `active and ${inCategory}`, "name, id", 5_000],
  ],
  [
    "most popular products of a category",
    products({ ...category, orderBy: "popularity desc" }),
    "product_category_popularity",
    ["product", `active and ${inCategory}`, "popularity desc, id desc", 5_000],
  ],
  ["orders", orders({}), "orders_created", ["orders", "true", newest, 80_000]],
  [
    "orders in a state",
    orders({ state: "CANCELLED" }),
    "orders_state_created",
    ["orders", "state = 'CANCELLED'", newest, 4_000],
  ],
  [
    "orders to ship",
    orders({ state: "CONFIRMED", paymentState: "PAID", fulfillmentState: "UNFULFILLED" }),
    "orders_state_created",
    [
      "orders",
      "state = 'CONFIRMED' and payment_state = 'PAID' and fulfillment_state = 'UNFULFILLED'",
      newest,
      900,
    ],
  ],
  [
    "orders of a customer",
    orders({ customerId }),
    "orders_customer_created",
    ["orders", ofBuyer, newest, 70],
  ],
  [
    "orders of a customer in a state",
    orders({ customerId, state: "PENDING" }),
    "orders_customer_created",
    ["orders", `${ofBuyer} and state = 'PENDING'`, newest, 70],
  ],
  ["purchases", purchases({}), "purchase_time", ["purchase", "true", latest, 80_000]],
  [
    "purchases of a promotion",
    purchases(promotion),
    "purchase_promotion_time",
    ["purchase", `promotion_id = '${promotion.promotionId}'`, latest, 8_000],
  ],
  [
    "purchases of a product",
    purchases(product),
    "purchase_product_time",
    ["purchase", `product_id = '${product.productId}'`, latest, 70],
  ],
  [
    "purchases of a user",
    purchases({ userId: "user 77" }),
    "purchase_user_time",
    ["purchase", "user_id = 'user 77'", latest, 70],
  ],
  ["customers", customers(""), "customer_pkey", ["customer", "deleted_at is null", "id", 18_000]],
  [
    "customers with an email",
    customers("BUYER77@example.com"),
    "customer_email",
    ["customer", "lower(email) = 'buyer77@example.com'", "id", 0],
  ],
];

/** Lists that are merged from several parts, of each of which a page is read. */
export const mergedCases: PageCase[] = [
  [
    "products of a branch",
    products(branch),
    "product_category_active_id",
    ["product", `active and ${inBranch}`, "id", 20_000],
  ],
  [
    "products of a branch by name",
    products({ ...branch, orderBy: "name desc" }),
    "product_category_name",
    ["product", `active and ${inBranch}`, "name desc, id desc", 20_000],
  ],
  [
    "products of a branch by price",
    products({ ...branch, orderBy: "price" }),
    "product_category_price",
    ["product", `active and ${inBranch}`, "price_minor, id", 20_000],
  ],
  [
    "most popular products of a branch",
    products({ ...branch, orderBy: "popularity desc" }),
    "product_category_popularity",
    ["product", `active and ${inBranch}`, "popularity desc, id desc", 20_000],
  ],
  [
    "products of a branch by name, deleted ones too",
    products({ ...branch, orderBy: "name", showDeleted: true }),
    "product_category_name",
    ["product", inBranch, "name, id", 20_000],
  ],
  [
    "products of a category, deleted ones too",
    products({ ...category, showDeleted: true }),
    "product_category_active_id",
    ["product", inCategory, "id", 6_000],
  ],
];
