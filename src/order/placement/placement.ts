import type { StockLine } from "../../inventory/inventory.ts";
import { fingerprint, hashJson } from "../../kernel/canonical-json.ts";
import { invalidField } from "../../kernel/errors.ts";
import type { Money } from "../../kernel/money.ts";
import type { PostalAddress } from "../address/postal-address.ts";
import type { Order } from "../order-types.ts";
import type { Quoter } from "../quote/quote.ts";

/** The fields of an order that callers write. */
export interface OrderInput {
  /** Empty for a guest. */
  customerId: string;
  /** Empty for none. */
  promotionId: string;
  /** Lines of the same product are added up. */
  items: readonly StockLine[];
  /** Undefined, like empty texts below, if it is not set: it is not part of the fingerprint then. */
  shippingAddress?: PostalAddress | undefined;
  billingAddress?: PostalAddress | undefined;
  email?: string | undefined;
  note?: string | undefined;
  shippingOptionId?: string | undefined;
  /** The total that the buyer has seen. */
  expectedTotal?: Money | undefined;
}

/** A valid request for an order. */
export interface Placement {
  /** Id of the order if this call places it. A batch that is repeated after a lost COMMIT finds its own orders by it. */
  orderId: string;
  /** The customer or, for the order of a guest, the caller that the request_id belongs to. */
  owner: string;
  requestId: string;
  customerId: string;
  promotionId: string;
  clientAddress: string;
  /** Each product once, in the order of its first line. */
  lines: readonly StockLine[];
  shippingAddress: PostalAddress | undefined;
  billingAddress: PostalAddress | undefined;
  email: string;
  note: string;
  /** Empty for none. */
  shippingOptionId: string;
  /** Undefined if the order may have any total. */
  expectedTotal: Money | undefined;
  /** Undefined for an order without an address. */
  quoter: Quoter | undefined;
  /** Time to pay; null for an order that does not expire. */
  reservationSeconds: number | null;
  /** Who places the order, as the history stores it. */
  actor: string;
  /** Identifies the content of the request, which must be the same in a repeat. */
  fingerprint: Buffer;
  /** Returns the fingerprint as older versions computed it. */
  olderFingerprint(): Buffer;
}

/** An order, and whether an earlier call with the same request_id has placed it. */
export interface PlacedOrder {
  order: Order;
  replayed: boolean;
}

/** Maximum number of units of a product in an order; a CHECK constraint holds it too. */
const MAX_QUANTITY = 10_000n;
/** The same for anonymous callers, who could otherwise reserve the stock of a shop by a few calls. */
const MAX_ANONYMOUS_QUANTITY = 100n;

/**
 * Returns the placement of a request, without a quoter.
 * @throws AppError invalid_argument when lines of a product add up to too many units
 */
export function toPlacement(
  input: OrderInput,
  {
    isAnonymous,
    ...request
  }: Pick<Placement, "orderId" | "owner" | "requestId" | "clientAddress" | "reservationSeconds" | "actor"> & {
    isAnonymous: boolean;
  },
): Placement {
  const { customerId, promotionId, items, shippingAddress, billingAddress, expectedTotal } = input;
  const { email = "", note = "", shippingOptionId = "" } = input;
  return {
    ...request,
    customerId,
    promotionId,
    shippingAddress,
    billingAddress,
    email,
    note,
    shippingOptionId,
    expectedTotal,
    quoter: undefined,
    lines: addUpLines(items, "order.items", isAnonymous ? MAX_ANONYMOUS_QUANTITY : MAX_QUANTITY),
    fingerprint: fingerprint(input),
    olderFingerprint: () => hashJson(input),
  };
}

/** Returns the names of all rows that a placement locks. */
export function lockedKeys({ owner, requestId, customerId, promotionId, lines }: Placement): string[] {
  const keys = [requestKey(owner, requestId), ...lines.map(({ productId }) => productId)];
  if (customerId !== "") keys.push(customerKey(customerId));
  if (promotionId !== "") keys.push(promotionKey(promotionId));
  return keys;
}

/** Returns the text that identifies a request among those of all owners. */
export function requestKey(owner: string, requestId: string): string {
  return `${requestId} ${owner}`;
}

export function customerKey(id: string): string {
  return `customer ${id}`;
}

export function promotionKey(id: string): string {
  return `promotion ${id}`;
}

/**
 * Adds up the lines of each product, in the order of its first line.
 * @param field path of the lines in the request
 * @throws AppError invalid_argument when lines of a product add up to too many units
 */
export function addUpLines(
  items: readonly StockLine[],
  field: string,
  maxQuantity = MAX_QUANTITY,
): StockLine[] {
  const lines = new Map<string, StockLine>();
  for (const [index, { productId, quantity }] of items.entries()) {
    const sum = (lines.get(productId)?.quantity ?? 0n) + quantity;
    if (sum > maxQuantity) {
      throw invalidField(
        `${field}[${index}].quantity`,
        `the items of this product add up to ${sum} units. The maximum is ${maxQuantity}.`,
      );
    }
    lines.set(productId, { productId, quantity: sum });
  }
  return [...lines.values()];
}
