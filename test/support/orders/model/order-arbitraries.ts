import fc from "fast-check";
import { advanceOrder } from "./advance-order.ts";
import { allowedTransitions, amountDue, type ModelLine, openUnits } from "./model-order.ts";
import type { ModelOrder } from "./model-state.ts";
import type { ItemUnits, Operation } from "./operation.ts";
import type { ShopModel } from "./shop-model.ts";
import { at, type Template } from "./template.ts";

const MAX_QUANTITY = 3;
/** Number of request_ids of each method. */
const REQUEST_IDS = 6;

/** Which order an operation changes: one at an index, most often among those that allow it. */
const target = fc.record({
  index: fc.nat({ max: 20 }),
  isAllowed: fc.constantFrom(true, true, true, true, true, false),
  etag: fc.constantFrom("any", "any", "any", "any", "any", "current", "current", "stale"),
});
type Target = typeof target extends fc.Arbitrary<infer T> ? T : never;

/** The fields of all changes of an order, and the order. */
interface Chosen {
  fields: { order: string; etag: number | undefined };
  content: ModelOrder;
}

/**
 * Returns the template of a change of an order that is chosen when it runs.
 * @param transition the name of the change in the state table
 * @param own what is printed besides the target
 */
function changeOf(
  method: string,
  transition: string,
  { index, isAllowed, etag }: Target,
  own: object,
  operationOf: (chosen: Chosen, model: ShopModel) => Operation | undefined,
): Template {
  return {
    text: `${method} ${JSON.stringify({ index, isAllowed, etag, ...own })}`,
    choose: (model) => {
      const known = [...model.ids.orders.keys()].flatMap((order) => {
        const content = model.anyState.orders[order];
        return content === undefined ? [] : [{ order, content }];
      });
      const allowing = known.filter(({ content }) => allowedTransitions(content).includes(transition));
      const chosen = at(isAllowed && allowing.length > 0 ? allowing : known, index);
      if (chosen === undefined) return undefined;
      const { order, content } = chosen;
      const { version } = content;
      const etags: Record<string, number | undefined> = { current: version, stale: version - 1 };
      return operationOf({ fields: { order, etag: etags[etag] }, content }, model);
    },
  };
}

const requestId = fc.nat({ max: REQUEST_IDS - 1 });
const optionalRequestId = fc.option(requestId, { nil: undefined });
const units = fc.array(
  fc.record({ item: fc.nat({ max: 2 }), quantity: fc.integer({ min: 1, max: MAX_QUANTITY }) }),
  { minLength: 1, maxLength: 2 },
);

/** Returns units of distinct items, most often no more than are left. */
function unitsOf(
  { lines }: ModelOrder,
  drawn: readonly ItemUnits[],
  left: (line: ModelLine) => number,
): ItemUnits[] {
  const chosen = new Map<number, number>();
  const withUnits = lines.flatMap((line, index) => (left(line) > 0 ? [index] : []));
  for (const { item, quantity } of drawn) {
    const index = at(withUnits, item) ?? item % lines.length;
    const line = lines[index];
    if (line === undefined) continue;
    const isBounded = quantity < MAX_QUANTITY && left(line) > 0;
    chosen.set(index, isBounded ? Math.min(quantity, left(line)) : quantity);
  }
  return [...chosen].map(([item, quantity]) => ({ item, quantity }));
}

const shippedUnits = ({ fulfilled, returned }: ModelLine) => fulfilled - returned;

const cancelOrder = fc.record({ target, requestId: optionalRequestId }).map(({ target, ...own }) =>
  changeOf("CancelOrder", "CANCEL", target, own, ({ fields }) => ({
    method: "CancelOrder",
    ...fields,
    ...own,
  })),
);

const markOrderPaid = fc
  .record({ target, requestId, difference: fc.constantFrom(0, 0, 0, 0, 0, 0, 1) })
  .map(({ target, ...own }) =>
    changeOf("MarkOrderPaid", "MARK_PAID", target, own, ({ fields, content }) => ({
      method: "MarkOrderPaid",
      ...fields,
      requestId: own.requestId,
      amount: amountDue(content) + own.difference,
    })),
  );

const shipOrder = fc
  .record({ target, requestId, units: fc.oneof(fc.constant([]), units) })
  .map(({ target, ...own }) =>
    changeOf("ShipOrder", "SHIP", target, own, ({ fields, content }) => ({
      method: "ShipOrder",
      ...fields,
      requestId: own.requestId,
      items: unitsOf(content, own.units, openUnits),
    })),
  );

const deliverOrder = fc
  .record({
    target,
    requestId: optionalRequestId,
    shipment: fc.option(fc.nat({ max: 3 }), { nil: undefined }),
  })
  .map(({ target, ...own }) =>
    changeOf("DeliverOrder", "DELIVER", target, own, ({ fields }, { ids, anyState }) => {
      const ofOrder = [...ids.shipments.keys()].filter(
        (shipment) => anyState.shipments[shipment]?.order === fields.order,
      );
      const shipment = own.shipment === undefined ? undefined : at(ofOrder, own.shipment);
      return { method: "DeliverOrder", ...fields, requestId: own.requestId, shipment };
    }),
  );

const cancelOrderItems = fc.record({ target, requestId, units }).map(({ target, ...own }) =>
  changeOf("CancelOrderItems", "CANCEL_ITEMS", target, own, ({ fields, content }) => ({
    method: "CancelOrderItems",
    ...fields,
    requestId: own.requestId,
    items: unitsOf(content, own.units, openUnits),
  })),
);

const returnOrderItems = fc
  .record({ target, requestId, units, restock: fc.boolean() })
  .map(({ target, ...own }) =>
    changeOf("ReturnOrderItems", "RETURN_ITEMS", target, own, ({ fields, content }) => ({
      method: "ReturnOrderItems",
      ...fields,
      requestId: own.requestId,
      items: unitsOf(content, own.units, shippedUnits),
      restock: own.restock,
    })),
  );

const setOrderExpireTime = fc
  .record({ target, requestId, time: fc.option(fc.nat({ max: 1 }), { nil: undefined }) })
  .map(({ target, ...own }) =>
    changeOf("SetOrderExpireTime", "SET_EXPIRE_TIME", target, own, ({ fields }) => ({
      method: "SetOrderExpireTime",
      ...fields,
      ...own,
    })),
  );

const passExpireTime = target.map((target) =>
  changeOf("PassExpireTime", "SET_EXPIRE_TIME", target, {}, ({ fields: { order } }) => ({
    method: "PassExpireTime",
    order,
    requestId: undefined,
  })),
);

/** The arbitraries of changes of orders, with their weights. */
export const orderChanges = [
  { arbitrary: advanceOrder, weight: 14 },
  { arbitrary: cancelOrder, weight: 2 },
  { arbitrary: markOrderPaid, weight: 4 },
  { arbitrary: shipOrder, weight: 4 },
  { arbitrary: deliverOrder, weight: 2 },
  { arbitrary: cancelOrderItems, weight: 3 },
  { arbitrary: returnOrderItems, weight: 3 },
  { arbitrary: setOrderExpireTime, weight: 1 },
  { arbitrary: passExpireTime, weight: 2 },
];
