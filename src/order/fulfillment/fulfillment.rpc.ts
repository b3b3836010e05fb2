import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { type FulfillmentSchema, ShipmentState } from "../../../gen/cartwright/order/v1/fulfillment_pb.ts";
import type { OrderService } from "../../../gen/cartwright/order/v1/order_service_pb.ts";
import type { Call } from "../../kernel/call.ts";
import { ACTORS } from "../event-messages.rpc.ts";
import type { Actor, Fulfillment, Orders } from "../order.ts";
import { toOrderMessage } from "../order-messages.rpc.ts";

/** Creates the handlers of OrderService for shipments, and for what becomes of the units of items. */
export function fulfillmentRpc(orders: Orders, getCall: (context: HandlerContext) => Call) {
  return {
    async shipOrder({ id, etag, items, carrier, trackingNumber, trackingUri, requestId }, context) {
      const shipment = {
        id: id.toLowerCase(),
        etag,
        items: toUnits(items),
        carrier,
        trackingNumber,
        trackingUri,
      };
      const { order, fulfillment } = await orders.ship(getCall(context), shipment, requestId);
      return { order: toOrderMessage(order), fulfillment: toFulfillmentMessage(fulfillment) };
    },

    async deliverOrder({ id, etag, fulfillmentId, requestId }, context) {
      const delivery = { id: id.toLowerCase(), etag, fulfillmentId: fulfillmentId.toLowerCase() };
      return { order: toOrderMessage(await orders.deliver(getCall(context), delivery, requestId)) };
    },

    async cancelOrderItems({ id, etag, items, reason, requestId }, context) {
      const cancellation = { id: id.toLowerCase(), etag, items: toUnits(items), reason };
      return { order: toOrderMessage(await orders.cancelItems(getCall(context), cancellation, requestId)) };
    },

    async returnOrderItems({ id, etag, items, reason, restock, requestId }, context) {
      const itemReturn = { id: id.toLowerCase(), etag, items: toUnits(items), reason, restock };
      return { order: toOrderMessage(await orders.returnItems(getCall(context), itemReturn, requestId)) };
    },

    async getFulfillment({ id, fulfillmentId }, context) {
      const key = { id: id.toLowerCase(), fulfillmentId: fulfillmentId.toLowerCase() };
      return { fulfillment: toFulfillmentMessage(await orders.getFulfillment(getCall(context), key)) };
    },

    async updateFulfillment({ fulfillment: values, updateMask, requestId, validateOnly }, context) {
      const update = {
        id: values?.orderId.toLowerCase() ?? "",
        fulfillmentId: values?.id.toLowerCase() ?? "",
        etag: values?.etag ?? "",
        carrier: values?.carrier ?? "",
        trackingNumber: values?.trackingNumber ?? "",
        trackingUri: values?.trackingUri ?? "",
        mask: updateMask?.paths ?? [],
      };
      const options = { requestId, validateOnly };
      const { order, fulfillment } = await orders.updateFulfillment(getCall(context), update, options);
      return { order: toOrderMessage(order), fulfillment: toFulfillmentMessage(fulfillment) };
    },

    async listFulfillments({ id, pageSize, pageToken }, context) {
      const request = { id: id.toLowerCase(), pageSize, pageToken };
      const page = await orders.listFulfillments(getCall(context), request);
      return { fulfillments: page.items.map(toFulfillmentMessage), nextPageToken: page.nextPageToken };
    },
  } satisfies Partial<ServiceImpl<typeof OrderService>>;
}

/** Returns the fields of the units alone. */
function toUnits(messages: readonly { itemId: string; quantity: bigint }[]) {
  return messages.map(({ itemId, quantity }) => ({ itemId, quantity }));
}

function toFulfillmentMessage({
  createTime,
  shippedBy,
  deliverTime,
  deliveredBy,
  ...fulfillment
}: Fulfillment): MessageInitShape<typeof FulfillmentSchema> {
  const shipped = toFulfillmentEvent(ShipmentState.SHIPPED, createTime, shippedBy);
  const delivered = deliverTime && toFulfillmentEvent(ShipmentState.DELIVERED, deliverTime, deliveredBy);
  return {
    ...fulfillment,
    state: delivered?.state ?? ShipmentState.SHIPPED,
    createTime: shipped.createTime,
    ...(delivered && { deliverTime: delivered.createTime }),
    events: delivered === undefined ? [shipped] : [shipped, delivered],
  };
}

function toFulfillmentEvent(state: ShipmentState, time: Date, { actor, actorId }: Actor) {
  return { state, createTime: timestampFromDate(time), actor: ACTORS[actor], actorId };
}
