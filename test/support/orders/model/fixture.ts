import { randomUUID } from "node:crypto";
import { ImportMode } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { createHeader, createRow, importRows } from "../../import/import-rows.ts";
import type { Clients } from "../../shop.ts";
import { makeCustomer } from "../../shop-fixtures.ts";
import type { TestDatabase } from "../../stores/database.ts";
import type { ModelState } from "./model-state.ts";
import { CUSTOMERS, orderKey, PURCHASE_LIMIT, PURCHASE_LIMIT_PER_USER } from "./operation.ts";
import type { StoredOrder, StoredShop } from "./shop-run.ts";

/** The products, customers and request_ids of a run, by their index in the model. */
export interface Fixture {
  categorySlug: string;
  skus: string[];
  productIds: string[];
  promotionId: string;
  /** The first owner is a guest, with an empty id; the last one does not exist. */
  customerIds: string[];
  /** Filled when an index is used for the first time. */
  requestIds: string[];
}

const PRODUCTS: ModelState["products"] = [
  { onHand: 9, reserved: 0, price: 1 },
  { onHand: 5, reserved: 0, price: 2 },
  { onHand: 2, reserved: 0, price: 3 },
];

/** The state at the start of a run. */
export const initialState: ModelState = { products: PRODUCTS, orders: {}, requests: {} };

/** Creates the products and customers of a run. */
export async function createFixture(
  clients: Clients,
  database: TestDatabase,
  categorySlug: string,
): Promise<Fixture> {
  const skus = PRODUCTS.map(() => randomUUID());
  const rows = PRODUCTS.map(({ onHand, price }, index) =>
    createRow(categorySlug, skus[index] ?? "", {
      price: { currencyCode: "EUR", minorUnits: BigInt(price) },
      stockQuantity: BigInt(onHand),
    }),
  );
  const limits = {
    purchaseLimit: BigInt(PURCHASE_LIMIT),
    purchaseLimitPerUser: BigInt(PURCHASE_LIMIT_PER_USER),
  };
  const [{ promotion }, , ...customerIds] = await Promise.all([
    clients.tracker.createPromotion({ promotion: { name: "Promotion", ...limits } }),
    importRows(clients, rows, createHeader(ImportMode.INCREMENTAL)),
    ...Array.from({ length: CUSTOMERS }, () => makeCustomer(clients)),
  ]);
  const products = await database.query<{ id: string; sku: string }>(
    "select id, sku from product where sku = any($1)",
    [skus],
  );
  const productIds = skus.map((sku) => products.find((product) => product.sku === sku)?.id ?? "");
  return {
    promotionId: promotion?.id ?? "",
    categorySlug,
    skus,
    productIds,
    customerIds: ["", ...customerIds, randomUUID()],
    requestIds: [],
  };
}

interface StoredRow {
  id: string;
  customer_id: string | null;
  request_id: string;
  state: string;
  promotion_id: string | null;
  product_id: string;
  quantity: string;
  unit_minor: string;
}

/** Returns the products of a run and all orders of them, as they are stored. */
export async function readStoredShop(database: TestDatabase, fixture: Fixture): Promise<StoredShop> {
  const { productIds, customerIds, requestIds } = fixture;
  const products = await database.query<{ id: string; on_hand: string; reserved: string; price: string }>(
    `select id, on_hand, reserved, price_minor as price
     from product join inventory on product_id = id where id = any($1)`,
    [productIds],
  );
  const rows = await database.query<StoredRow>(
    `select orders.id, customer_id, request_id, state, promotion_id, product_id, quantity, unit_minor
     from orders join order_item on order_id = orders.id
     where orders.id in (select order_id from order_item where product_id = any($1))
     order by orders.id, position`,
    [productIds],
  );
  const orders: Record<string, StoredOrder[]> = {};
  for (const row of rows) {
    const key = orderKey({
      owner: customerIds.indexOf(row.customer_id ?? ""),
      requestId: requestIds.indexOf(row.request_id),
    });
    const found = orders[key] ?? [];
    orders[key] = found;
    let order = found.find(({ id }) => id === row.id);
    if (order === undefined) {
      order = { id: row.id, state: row.state, hasPromotion: row.promotion_id !== null, lines: [] };
      found.push(order);
    }
    order.lines.push({
      product: productIds.indexOf(row.product_id),
      quantity: Number(row.quantity),
      unitPrice: Number(row.unit_minor),
    });
  }
  return {
    products: productIds.map((id) => {
      const product = products.find((one) => one.id === id);
      return {
        onHand: Number(product?.on_hand),
        reserved: Number(product?.reserved),
        price: Number(product?.price),
      };
    }),
    orders,
  };
}
