import { randomUUID } from "node:crypto";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { seedId } from "../../src/cli/seed/generate/seed-id.ts";
import { encodeRequest } from "../harness/grpc-client.ts";

/** The products of the orders that a load consists of. */
export interface OrderedProducts {
  /** The numbers of seeded products and customers to choose from. */
  products: number;
  customers: number;
  /** Number of a product that is in each order, beside a random one; undefined for two random ones. */
  hotProduct: number | undefined;
  /** Whether the orders have an address, an email and a shipping option, so that they are quoted. */
  isQuoted?: boolean;
}

const ADDRESS = {
  countryCode: "DE",
  administrativeArea: "BE",
  locality: "Berlin",
  postalCode: "10115",
  addressLines: ["Invalidenstraße 43"],
  recipient: "Ada Lovelace",
};
/** What a quoted order has besides its items. The seed has a shipping zone with this option. */
const QUOTED = {
  shippingAddress: ADDRESS,
  shippingOption: { id: "standard" },
  email: "ada@example.com",
};

export const CREATE_ORDER = OrderService.method.createOrder;

/** The digits at the end of a seeded id that are its number. */
const NUMBER_DIGITS = 12;

/**
 * Returns a function that returns CreateOrder requests of two lines with new request_ids. One request is encoded
 * beforehand; the others are copies of it with other ids.
 */
export function createOrderMessages({
  products,
  customers,
  hotProduct,
  isQuoted = false,
}: OrderedProducts): () => Uint8Array {
  const placeholders = {
    requestId: randomUUID(),
    customerId: seedId("customer", 1),
    productIds: [seedId("product", 1), seedId("product", 2)],
  };
  const [firstId = "", secondId = ""] = placeholders.productIds;
  const { frame } = encodeRequest(CREATE_ORDER, {
    requestId: placeholders.requestId,
    order: {
      customerId: placeholders.customerId,
      items: placeholders.productIds.map((productId) => ({ productId, quantity: 1n })),
      ...(isQuoted && QUOTED),
    },
  });
  const requestAt = frame.indexOf(placeholders.requestId);
  const numberAt = (id: string) => frame.indexOf(id) + id.length - NUMBER_DIGITS;
  const [customerAt, firstAt, secondAt] = [placeholders.customerId, firstId, secondId].map(numberAt);
  return () => {
    const message = Buffer.from(frame);
    message.write(randomUUID(), requestAt, "latin1");
    const writeNumber = (number: number, at = 0) =>
      message.write(String(number).padStart(NUMBER_DIGITS, "0"), at, "latin1");
    const first = hotProduct ?? 1 + Math.floor(Math.random() * products);
    // One of the others.
    const second = 1 + ((first + Math.floor(Math.random() * (products - 1))) % products);
    writeNumber(1 + Math.floor(Math.random() * customers), customerAt);
    writeNumber(first, firstAt);
    writeNumber(second, secondAt);
    return message;
  };
}
