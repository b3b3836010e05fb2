import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { OrderItem as OrderItemMessage } from "../../gen/cartwright/order/v1/order_pb.ts";
import type { CreateOrderResponse, OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import type { PostalAddress as PostalAddressMessage } from "../../gen/cartwright/type/v1/postal_address_pb.ts";
import type { StockLine } from "../inventory/inventory.ts";
import type { Call } from "../kernel/call.ts";
import { paymentMethodOf, toEventMessage } from "./event-messages.rpc.ts";
import { fulfillmentRpc } from "./fulfillment/fulfillment.rpc.ts";
import type { CreatedOrder, Orders, PostalAddress } from "./order.ts";
import { fulfillmentStateOf, orderStateOf, paymentStateOf, toOrderMessage } from "./order-messages.rpc.ts";
import { rethrowWithQuote, toQuoteMessage } from "./quote/quote.rpc.ts";
import { toWatchMessage } from "./watch/watch-messages.rpc.ts";

/** Creates the handlers of OrderService. */
export function orderRpc(orders: Orders, getCall: (context: HandlerContext) => Call) {
  return {
    async createOrder({ order, requestId, validateOnly, expectedTotal }, context) {
      // PostgreSQL returns UUIDs in lower case, and the ids of an order are compared with its rows.
      const input = {
        customerId: order?.customerId.toLowerCase() ?? "",
        promotionId: order?.promotionId.toLowerCase() ?? "",
        items: toLines(order?.items ?? []),
        shippingAddress: toAddress(order?.shippingAddress),
        billingAddress: toAddress(order?.billingAddress),
        email: order?.email || undefined,
        note: order?.note || undefined,
        shippingOptionId: order?.shippingOption?.id,
        expectedTotal: expectedTotal && {
          currencyCode: expectedTotal.currencyCode,
          minorUnits: expectedTotal.minorUnits,
        },
      };
      const creation = { order: input, requestId: requestId.toLowerCase(), validateOnly };
      const created = await orders.create(getCall(context), creation).catch(rethrowWithQuote);
      return createOrderResponse(created);
    },

    async quoteOrder({ items, shippingAddress, billingAddress, shippingOptionId }, context) {
      const request = {
        items: toLines(items),
        shippingAddress: toAddress(shippingAddress),
        billingAddress: toAddress(billingAddress),
        shippingOptionId,
      };
      const quote = await orders.quote(getCall(context), request).catch(rethrowWithQuote);
      return { quote: toQuoteMessage(quote) };
    },

    async getOrder({ id }, context) {
      return { order: toOrderMessage(await orders.get(getCall(context), id)) };
    },

    async listOrders({ customerId, state, paymentState, fulfillmentState, pageSize, pageToken }, context) {
      const request = {
        customerId,
        state: orderStateOf(state),
        paymentState: paymentStateOf(paymentState),
        fulfillmentState: fulfillmentStateOf(fulfillmentState),
        pageSize,
        pageToken,
      };
      const page = await orders.list(getCall(context), request);
      return { orders: page.items.map(toOrderMessage), nextPageToken: page.nextPageToken };
    },

    async cancelOrder({ id, etag, reason, requestId }, context) {
      const cancellation = { id: id.toLowerCase(), etag, reason };
      return { order: toOrderMessage(await orders.cancel(getCall(context), cancellation, requestId)) };
    },

    async markOrderPaid({ id, etag, amount, method, reference, requestId }, context) {
      const payment = {
        id: id.toLowerCase(),
        etag,
        amount: { currencyCode: amount?.currencyCode ?? "", minorUnits: amount?.minorUnits ?? 0n },
        method: paymentMethodOf(method),
        reference,
      };
      return { order: toOrderMessage(await orders.markPaid(getCall(context), payment, requestId)) };
    },

    async setOrderExpireTime({ id, etag, expireTime, neverExpires, reason, requestId }, context) {
      const change = {
        id: id.toLowerCase(),
        etag,
        expireTime: expireTime && timestampDate(expireTime),
        neverExpires,
        reason,
      };
      return { order: toOrderMessage(await orders.setExpireTime(getCall(context), change, requestId)) };
    },

    async listOrderEvents({ id, afterSequence, pageSize, pageToken }, context) {
      const request = { id: id.toLowerCase(), afterSequence: Number(afterSequence), pageSize, pageToken };
      const page = await orders.listEvents(getCall(context), request);
      return { events: page.items.map(toEventMessage), nextPageToken: page.nextPageToken };
    },

    async *watchOrder({ id, afterSequence }, context) {
      const request = { id: id.toLowerCase(), afterSequence: Number(afterSequence) };
      for await (const update of orders.watch(getCall(context), request)) yield toWatchMessage(update);
    },

    ...fulfillmentRpc(orders, getCall),
  } satisfies Partial<ServiceImpl<typeof OrderService>>;
}

/** Returns the response of CreateOrder as a complete message, as `toOrderMessage` does. */
function createOrderResponse({ order, replayed, orderToken }: CreatedOrder): CreateOrderResponse {
  return {
    $typeName: "cartwright.order.v1.CreateOrderResponse",
    order: toOrderMessage(order),
    replayed,
    orderToken,
  };
}

function toLines(items: readonly OrderItemMessage[]): StockLine[] {
  return items.map(({ productId, quantity }) => ({ productId: productId.toLowerCase(), quantity }));
}

/** Returns the fields of an address alone. */
function toAddress(message: PostalAddressMessage | undefined): PostalAddress | undefined {
  if (message === undefined) return undefined;
  const { countryCode, administrativeArea, locality, postalCode, addressLines } = message;
  const { recipient, organization, phone } = message;
  return {
    countryCode,
    administrativeArea,
    locality,
    postalCode,
    addressLines,
    recipient,
    organization,
    phone,
  };
}
