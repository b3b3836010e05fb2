import { randomUUID } from "node:crypto";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { seedId } from "../../src/cli/seed/generate/seed-id.ts";
import { errorDetails } from "../../src/client/errors.ts";
import type { Service } from "../harness/service.ts";
import { CATEGORIES } from "../workload/requests.ts";
import { CONNECTIONS } from "./measure.ts";
import { CUSTOMERS } from "./order-shop.ts";

/** The number of callers that order one unit each concurrently, and the units in stock. */
export const BUYERS = 1_000;
export const UNITS = 100;

/** The results of orders for more units than there are. */
export interface SoldOut {
  sold: number;
  outOfStock: number;
  /** Other results by reason or code. */
  others: string[];
  /** The units that are left. */
  left: bigint;
  /** Time from the first call to the last response, in milliseconds. */
  lastMs: number;
}

/** Creates a product with {@link UNITS} units, which {@link BUYERS} buyers order concurrently. */
export async function sellOut({ url }: Service): Promise<SoldOut> {
  const clients = Array.from({ length: CONNECTIONS }, () => {
    const transport = createGrpcTransport({ baseUrl: url });
    return {
      catalog: createClient(CatalogService, transport),
      orders: createClient(OrderService, transport),
    };
  });
  const [first] = clients;
  if (first === undefined) throw new RangeError("There are no connections.");
  const { product } = await first.catalog.createProduct({
    product: {
      sku: `SCARCE-${randomUUID()}`,
      name: "Scarce product",
      categoryId: CATEGORIES[0]?.id ?? "",
      brand: CATEGORIES[0]?.brands[0] ?? "",
      price: { currencyCode: "EUR", minorUnits: 1_000n },
      stockQuantity: BigInt(UNITS),
    },
  });
  const key = { case: "id", value: product?.id ?? "" } as const;
  // Opens the connections.
  for (const { catalog } of clients) await catalog.getProduct({ key });
  const startMs = performance.now();
  const results = await Promise.all(
    Array.from({ length: BUYERS }, async (_, buyer) => {
      const { orders } = clients[buyer % clients.length] ?? first;
      const customerId = seedId("customer", 1 + (buyer % CUSTOMERS));
      const order = { customerId, items: [{ productId: key.value, quantity: 1n }] };
      try {
        await orders.createOrder({ requestId: randomUUID(), order });
        return "SOLD";
      } catch (error) {
        const { reason, code } = errorDetails(error);
        return reason || `code ${code}`;
      }
    }),
  );
  const lastMs = performance.now() - startMs;
  const after = await first.catalog.getProduct({ key });
  const count = (result: string) => results.filter((one) => one === result).length;
  return {
    sold: count("SOLD"),
    outOfStock: count("OUT_OF_STOCK"),
    others: [...new Set(results)].filter((result) => result !== "SOLD" && result !== "OUT_OF_STOCK"),
    left: after.product?.stockQuantity ?? -1n,
    lastMs,
  };
}
