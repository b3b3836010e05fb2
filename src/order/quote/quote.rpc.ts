import { create, type MessageInitShape, toBinary, toJson } from "@bufbuild/protobuf";
import { type QuotedItemSchema, QuoteSchema } from "../../../gen/cartwright/order/v1/quote_pb.ts";
import { AppError, type EncodedMessage } from "../../kernel/errors.ts";
import { toTotalMessages } from "../order-messages.rpc.ts";
import type { OrderItem } from "../order-types.ts";
import type { PricedBasket } from "./quote.ts";
import { QuoteError } from "./quote-errors.ts";

/** Largest quote among the details of an error, in bytes: some clients reject trailers over 8 KiB, in base64. */
const MAX_DETAIL_BYTES = 4_000;

/** Returns the message of a quote. */
export function toQuoteMessage(quote: PricedBasket): MessageInitShape<typeof QuoteSchema> {
  const { items, shippingOptions, shippingOption, unavailable } = quote;
  return {
    items: items.map((item) => toItemMessage(item, !unavailable.has(item.productId))),
    ...toTotalMessages(quote.totals, quote.currencyCode),
    shippingOptions: [...shippingOptions],
    ...(shippingOption && { shippingOption }),
  };
}

function toItemMessage(item: OrderItem, available: boolean): MessageInitShape<typeof QuotedItemSchema> {
  const { productId, sku, name, unitPrice, quantity, totalPrice, tax } = item;
  return { productId, sku, name, unitPrice, quantity, totalPrice, tax, available };
}

/** Rethrows errors with the new quote among their details if they carry one. */
export function rethrowWithQuote(error: unknown): never {
  if (!(error instanceof QuoteError)) throw error;
  const { code, message, details, quote } = error;
  throw new AppError(code, message, { ...details, messages: [encodeQuote(quote)] });
}

/** Encodes a quote as the detail of an error, without the lists that would make it too large. */
function encodeQuote(quote: PricedBasket): EncodedMessage {
  const message = create(QuoteSchema, toQuoteMessage(quote));
  let value = toBinary(QuoteSchema, message);
  for (const list of [message.items, message.shippingOptions]) {
    if (value.length <= MAX_DETAIL_BYTES) break;
    list.length = 0;
    value = toBinary(QuoteSchema, message);
  }
  return { type: QuoteSchema.typeName, value, debug: toJson(QuoteSchema, message) };
}
