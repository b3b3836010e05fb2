import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Product } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import type { ListProductsRequestSchema } from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import type { Clients, TestShop } from "../shop.ts";

/** A product row to insert directly: for many rows, and for columns that no call sets. */
export interface ProductInsert {
  id?: string;
  name?: string;
  description?: string;
  categoryId: string;
  brand?: string;
  currency?: string;
  price?: number;
  stock?: number;
  sold?: number;
  rating?: number;
  deleted?: boolean;
}

/** Inserts products directly, without invalidating the cache, and returns their ids. */
export async function insertProducts(
  { database }: TestShop,
  products: readonly ProductInsert[],
): Promise<string[]> {
  const rows = products.map((product) => ({
    id: randomUUID(),
    name: "thing",
    description: "",
    brand: "",
    currency: "EUR",
    price: 100,
    stock: 1,
    sold: 0,
    rating: 0,
    deleted: false,
    ...product,
  }));
  const json = JSON.stringify(rows);
  await database.query(
    `insert into brand (name, created_at) select distinct brand, now()
     from json_to_recordset($1) as row (brand text) on conflict do nothing`,
    [json],
  );
  await database.query(
    `with item as (
       select * from json_to_recordset($1) as row (id uuid, name text, description text, "categoryId" uuid, brand text,
         currency text, price bigint, stock bigint, sold bigint, rating double precision, deleted boolean)
     ), stocked as (
       insert into inventory (product_id, on_hand) select id, stock from item
     ), sales as (
       insert into product_sales (product_id, purchase_count) select id, sold from item where sold > 0
     )
     insert into product (id, sku, name, description, category_id, brand, currency, price_minor, in_stock,
       popularity, rating_average, image_uri, attributes, created_at, updated_at, deleted_at)
     select id, right(id::text, 12), name, description, "categoryId", brand, currency, price, stock > 0,
       floor(10 * ln(1 + sold)), rating, '', '{}', now(), now(), case when deleted then now() end
     from item`,
    [json],
  );
  return rows.map(({ id }) => id);
}

/** A request of ListProducts. */
export type ListRequest = Omit<MessageInitShape<typeof ListProductsRequestSchema>, "$typeName">;

/** Returns the products of all pages of a list. */
export async function listAllProducts(
  { catalog }: Clients,
  request: ListRequest,
  afterPage = async () => {},
): Promise<Product[]> {
  const found: Product[] = [];
  let pageToken = "";
  do {
    const page = await catalog.listProducts({ ...request, pageToken });
    found.push(...page.products);
    pageToken = page.nextPageToken;
    await afterPage();
  } while (pageToken !== "");
  return found;
}
