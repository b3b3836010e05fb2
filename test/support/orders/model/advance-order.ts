import fc from "fast-check";
import { allowedTransitions, amountDue, openUnits } from "./model-order.ts";
import type { ModelOrder } from "./model-state.ts";
import { CUSTOMERS, type Operation } from "./operation.ts";
import { at, type Template } from "./template.ts";

/**
 * Chooses the next step in the life of an order: it is placed, paid, shipped in parts, delivered and returned. Without it,
 * few random commands would reach the last steps.
 */
export const advanceOrder = fc
  .record({ index: fc.nat({ max: 20 }), isNew: fc.constantFrom(false, false, true), restock: fc.boolean() })
  .map(
    (fields): Template => ({
      text: `the next step of an order ${JSON.stringify(fields)}`,
      choose: ({ ids, anyState, writes }) => {
        const { index, isNew, restock } = fields;
        const requestId = writes.length;
        const order = at([...ids.orders.keys()], index);
        const content = order === undefined ? undefined : anyState.orders[order];
        if (order === undefined || content === undefined || isNew) {
          return {
            method: "CreateOrder",
            owner: index % (CUSTOMERS + 1),
            requestId,
            lines: [{ product: index % anyState.products.length, quantity: 2 }],
            hasPromotion: index % (CUSTOMERS + 1) > 0 && restock,
            isShipped: false,
            expectedTotal: undefined,
            validateOnly: false,
          };
        }
        return nextStep(content, { order, etag: undefined, requestId }, restock);
      },
    }),
  );

function nextStep(
  content: ModelOrder,
  fields: { order: string; etag: undefined; requestId: number },
  restock: boolean,
): Operation {
  const allowed = allowedTransitions(content);
  const one = (item: number) => [{ item: Math.max(item, 0), quantity: 1 }];
  if (allowed.includes("MARK_PAID"))
    return { method: "MarkOrderPaid", ...fields, amount: amountDue(content) };
  if (allowed.includes("SHIP")) {
    const items = one(content.lines.findIndex((line) => openUnits(line) > 0));
    return { method: "ShipOrder", ...fields, items };
  }
  if (allowed.includes("DELIVER")) return { method: "DeliverOrder", ...fields, shipment: undefined };
  const items = one(content.lines.findIndex(({ fulfilled, returned }) => fulfilled > returned));
  return { method: "ReturnOrderItems", ...fields, items, restock };
}
