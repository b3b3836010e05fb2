import { randomUUID } from "node:crypto";
import { PaymentMethod } from "../../gen/cartwright/order/v1/order_event_pb.ts";
import type { Clients, TestShop } from "./shop.ts";

/** Creates a category and returns its id. */
export async function makeCategory({ catalog }: Clients): Promise<string> {
  // Queries match its name too, so that it must not contain digits by chance.
  const slug = `category-${randomUUID()
    .replaceAll("-", "")
    .replaceAll(/\d/g, (digit) => "ghijklmnop"[Number(digit)] ?? "")}`;
  const { category } = await catalog.createCategory({ category: { slug, name: slug } });
  return category?.id ?? "";
}

/** Creates a product with a stock, at EUR 10.00 by default, and returns its id. */
export async function makeProduct(
  clients: Clients,
  {
    stock,
    minorUnits = 1_000n,
    currencyCode = "EUR",
  }: { stock: bigint; minorUnits?: bigint; currencyCode?: string },
): Promise<string> {
  const sku = `SKU-${randomUUID().slice(0, 13)}`;
  const { product } = await clients.catalog.createProduct({
    product: {
      sku,
      name: `Product ${sku}`,
      categoryId: await makeCategory(clients),
      price: { currencyCode, minorUnits },
      stockQuantity: stock,
    },
  });
  return product?.id ?? "";
}

/** Creates a customer with a new email and returns the id. */
export async function makeCustomer({ customers }: Clients): Promise<string> {
  const { customer } = await customers.createCustomer({
    customer: { email: `${randomUUID()}@example.com`, name: "Test Customer" },
  });
  return customer?.id ?? "";
}

/** Marks an order as paid, by cash. */
export async function markPaid({ orders }: Clients, id: string): Promise<void> {
  const { order } = await orders.getOrder({ id });
  const payment = { id, amount: order?.amountDue, method: PaymentMethod.CASH, reference: "receipt" };
  await orders.markOrderPaid({ ...payment, requestId: randomUUID() });
}

/**
 * Returns the units in stock: those of the database if there is one, since cached responses may lack the orders of the
 * last second.
 */
export async function stockOf(shop: Clients | TestShop, id: string): Promise<bigint> {
  if ("database" in shop) {
    const [row] = await shop.database.query<{ units: string }>(
      "select on_hand - reserved as units from inventory where product_id = $1",
      [id],
    );
    return BigInt(row?.units ?? -1);
  }
  const { product } = await shop.catalog.getProduct({ key: { case: "id", value: id } });
  return product?.stockQuantity ?? -1n;
}
