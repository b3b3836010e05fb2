import { randomUUID } from "node:crypto";
import { ImportMode } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { createHeader, createRow, importRows } from "../../import/import-rows.ts";
import type { Clients } from "../../shop.ts";
import { makeCustomer } from "../../shop-fixtures.ts";
import type { TestDatabase } from "../../stores/database.ts";
import type { ModelState } from "./model-state.ts";
import { CUSTOMERS, PURCHASE_LIMIT, PURCHASE_LIMIT_PER_USER } from "./operation.ts";
import type { StoredShop } from "./shop-run.ts";
import { readStoredOrders } from "./stored-orders.ts";

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
  /** Expire times in the future. */
  expireTimes: Date[];
}

const PRODUCTS: ModelState["products"] = [
  { onHand: 12, reserved: 0, price: 1 },
  { onHand: 8, reserved: 0, price: 2 },
  { onHand: 4, reserved: 0, price: 3 },
];

/** The state at the start of a run. */
export const initialState: ModelState = { products: PRODUCTS, orders: {}, requests: {}, shipments: {} };

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
    expireTimes: [1, 2].map((days) => new Date(Date.now() + days * 86_400_000)),
  };
}

/** Returns the products of a run and all orders of them, as they are stored. */
export async function readStoredShop(database: TestDatabase, fixture: Fixture): Promise<StoredShop> {
  const { productIds } = fixture;
  const products = await database.query<{ id: string; on_hand: string; reserved: string; price: string }>(
    `select id, on_hand, reserved, price_minor as price
     from product join inventory on product_id = id where id = any($1)`,
    [productIds],
  );
  const ofProducts = "id in (select order_id from order_item where product_id = any($1))";
  return {
    products: productIds.map((id) => {
      const product = products.find((one) => one.id === id);
      return {
        onHand: Number(product?.on_hand),
        reserved: Number(product?.reserved),
        price: Number(product?.price),
      };
    }),
    orders: await readStoredOrders(database, fixture, ofProducts, [productIds]),
  };
}
