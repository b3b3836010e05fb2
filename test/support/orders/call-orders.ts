import { toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { OrderEventType, PaymentMethod } from "../../../gen/cartwright/order/v1/order_event_pb.ts";
import {
  FulfillmentState,
  type Order,
  OrderSchema,
  OrderState,
  OrderTotalType,
  OrderTransition,
  PaymentState,
} from "../../../gen/cartwright/order/v1/order_pb.ts";
import type { Clients } from "../shop.ts";
import type { Fixture } from "./model/fixture.ts";
import {
  type CreateOrder,
  type ItemUnits,
  type KnownIds,
  type Line,
  type Observation,
  type OrderWrite,
  type Read,
  ZONE,
} from "./model/operation.ts";
import { requestIdOf } from "./request-ids.ts";

/** Calls CreateOrder. */
export async function callCreateOrder(
  { orders }: Clients,
  fixture: Fixture,
  operation: CreateOrder,
): Promise<Observation> {
  const { expectedTotal } = operation;
  const { order, replayed } = await orders.createOrder({
    requestId: requestIdOf(fixture, operation.requestId),
    validateOnly: operation.validateOnly,
    order: {
      customerId: fixture.customerIds[operation.owner] ?? "",
      promotionId: operation.hasPromotion ? fixture.promotionId : "",
      items: itemsOf(fixture, operation.lines),
      ...(operation.isShipped && { shippingAddress: ADDRESS, shippingOption: { id: ZONE.optionId } }),
    },
    ...(expectedTotal !== undefined && { expectedTotal: euros(expectedTotal) }),
  });
  const observation = observe(fixture, order);
  return { ...observation, outcome: { ...observation.outcome, replayed }, createdId: order?.id ?? "" };
}

const PAYMENT = { method: PaymentMethod.CASH, reference: "receipt" };

/** Calls a method that changes an order. */
export async function callOrderWrite(
  { orders }: Clients,
  fixture: Fixture,
  operation: OrderWrite,
  ids: KnownIds,
): Promise<Observation> {
  const { requestId } = operation;
  const request = {
    id: ids.orders.get(operation.order) ?? "",
    etag: operation.etag === undefined ? "" : String(operation.etag),
    requestId: requestId === undefined ? "" : requestIdOf(fixture, requestId),
  };
  switch (operation.method) {
    case "CancelOrder":
      return observe(fixture, (await orders.cancelOrder(request)).order);
    case "MarkOrderPaid": {
      const amount = euros(operation.amount);
      const { order } = await orders.markOrderPaid({ ...request, ...PAYMENT, amount });
      return observe(fixture, order);
    }
    case "ShipOrder": {
      const items = unitsOf(operation.items);
      const { order, fulfillment } = await orders.shipOrder({ ...request, items });
      return { ...observe(fixture, order), createdId: fulfillment?.id ?? "" };
    }
    case "DeliverOrder": {
      const { shipment } = operation;
      const fulfillmentId = shipment === undefined ? "" : (ids.shipments.get(shipment) ?? "");
      return observe(fixture, (await orders.deliverOrder({ ...request, fulfillmentId })).order);
    }
    case "CancelOrderItems": {
      const items = unitsOf(operation.items);
      return observe(fixture, (await orders.cancelOrderItems({ ...request, items })).order);
    }
    case "ReturnOrderItems": {
      const { restock } = operation;
      const items = unitsOf(operation.items);
      return observe(fixture, (await orders.returnOrderItems({ ...request, items, restock })).order);
    }
    case "SetOrderExpireTime": {
      const time = operation.time === undefined ? undefined : fixture.expireTimes[operation.time];
      const expiry = time === undefined ? { neverExpires: true } : { expireTime: timestampFromDate(time) };
      const { order } = await orders.setOrderExpireTime({ ...request, ...expiry });
      return observe(fixture, order);
    }
  }
}

/** Calls a method that reads orders. */
export async function callOrderRead(
  { orders }: Clients,
  fixture: Fixture,
  read: Exclude<Read, { method: "GetProduct" }>,
  ids: KnownIds,
): Promise<Observation> {
  if (read.method === "ListOrders") {
    const keys = new Map([...ids.orders].map(([key, id]) => [id, key]));
    const customerId = fixture.customerIds[read.owner] ?? "";
    const { orders: listed } = await orders.listOrders({ customerId, pageSize: 100 });
    const texts = listed.map(
      ({ id, state }) => `${keys.get(id) ?? "unacknowledged"} ${nameOf(OrderState, state)}`,
    );
    return { outcome: { code: "OK", orders: texts.sort() } };
  }
  if (read.method === "QuoteOrder") return callQuoteOrder(orders, fixture, read);
  const id = ids.orders.get(read.order) ?? "";
  if (read.method === "GetOrder") return observe(fixture, (await orders.getOrder({ id })).order);
  const { events } = await orders.listOrderEvents({ id, pageSize: 100 });
  const types = events.map(({ sequence, type }, index) =>
    Number(sequence) === index + 1
      ? nameOf(OrderEventType, type)
      : `${nameOf(OrderEventType, type)} with ${sequence}`,
  );
  return { outcome: { code: "OK", events: types } };
}

async function callQuoteOrder(
  orders: Clients["orders"],
  fixture: Fixture,
  { lines, isShipped }: Extract<Read, { method: "QuoteOrder" }>,
): Promise<Observation> {
  const { quote } = await orders.quoteOrder({
    items: itemsOf(fixture, lines),
    ...(isShipped && { shippingAddress: ADDRESS, shippingOptionId: ZONE.optionId }),
  });
  const quoted = (quote?.items ?? []).map(({ productId, quantity, unitPrice, tax, available }) => ({
    product: fixture.productIds.indexOf(productId),
    quantity: Number(quantity),
    unitPrice: Number(unitPrice?.minorUnits),
    tax: Number(tax?.minorUnits),
    isAvailable: available,
  }));
  const total = quote?.totals.find(({ type }) => type === OrderTotalType.TOTAL);
  return { outcome: { code: "OK", lines: quoted, total: Number(total?.amount?.minorUnits) } };
}

const ADDRESS = { countryCode: ZONE.countryCode };

const euros = (amount: number) => ({ currencyCode: "EUR", minorUnits: BigInt(amount) });

function itemsOf({ productIds }: Fixture, lines: readonly Line[]) {
  return lines.map(({ product, quantity }) => ({
    productId: productIds[product] ?? "",
    quantity: BigInt(quantity),
  }));
}

function unitsOf(items: readonly ItemUnits[]) {
  return items.map(({ item, quantity }) => ({ itemId: String(item + 1), quantity: BigInt(quantity) }));
}

function observe({ productIds }: Fixture, order: Order | undefined) {
  if (order === undefined) throw new Error("the response has no order");
  return {
    outcome: {
      code: "OK" as const,
      state: nameOf(OrderState, order.state),
      payment: nameOf(PaymentState, order.paymentState),
      fulfillment: nameOf(FulfillmentState, order.fulfillmentState),
      version: Number(order.etag),
      lines: order.items.map((item) => ({
        product: productIds.indexOf(item.productId),
        quantity: Number(item.quantity),
        unitPrice: Number(item.unitPrice?.minorUnits),
        tax: Number(item.tax?.minorUnits),
        cancelled: Number(item.cancelledQuantity),
        fulfilled: Number(item.fulfilledQuantity),
        returned: Number(item.returnedQuantity),
      })),
      total: Number(order.totalPrice?.minorUnits),
      due: Number(order.amountDue?.minorUnits),
      hasPromotion: order.promotionId !== "",
      expires: order.expireTime !== undefined,
      allowed: order.allowedTransitions.map((transition) => nameOf(OrderTransition, transition)),
    },
    response: Buffer.from(toBinary(OrderSchema, order)).toString("base64"),
  };
}

/** Returns the name of a value of an enum. */
function nameOf(values: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(values).find((name) => values[name] === value) ?? "";
}
