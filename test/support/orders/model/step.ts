import { changeOrder, passExpireTime } from "./change-order.ts";
import { changeStock } from "./change-stock.ts";
import { createOrder, quoteOrder } from "./create-order.ts";
import { describeOrder, stateOf } from "./model-order.ts";
import { type ModelState, ORDER_NOT_FOUND, productOf, REUSED, type Step, stockOf } from "./model-state.ts";
import { type Operation, type OrderWrite, requestKey, type StockWrite } from "./operation.ts";

/**
 * Returns what an operation does to a state: the promises of the contract in their simplest form.
 * @param hasId returns whether the id of an order is known to the test, by its key
 */
export function step(state: ModelState, operation: Operation, hasId: (key: string) => boolean): Step {
  switch (operation.method) {
    case "CreateOrder":
      return createOrder(state, operation);
    case "PassExpireTime":
      return passExpireTime(state, operation);
    case "AdjustStock":
    case "Recount":
    case "ImportProducts":
      return once(state, operation, changeStock);
    case "QuoteOrder":
      return quoteOrder(state, operation);
    case "GetOrder": {
      const order = state.orders[operation.order];
      return { state, outcome: order === undefined ? ORDER_NOT_FOUND : describeOrder(order) };
    }
    case "ListOrderEvents": {
      const order = state.orders[operation.order];
      return { state, outcome: order === undefined ? ORDER_NOT_FOUND : { code: "OK", events: order.events } };
    }
    case "GetProduct": {
      // Units that an order took can be one second old in cached responses; availability and prices are current.
      const product = productOf(state, operation.product);
      return { state, outcome: { code: "OK", inStock: stockOf(product) > 0, price: product.price } };
    }
    case "ListOrders": {
      const own = Object.entries(state.orders).filter(([, order]) => order.owner === operation.owner);
      const texts = own.map(([key, order]) => `${hasId(key) ? key : "unacknowledged"} ${stateOf(order)}`);
      return { state, outcome: { code: "OK", orders: texts.sort() } };
    }
    default:
      return once(state, operation, changeOrder);
  }
}

/** Runs a method once for each request_id. Only successful calls are remembered. */
function once<W extends OrderWrite | StockWrite>(
  state: ModelState,
  operation: W,
  run: (state: ModelState, operation: W) => Step,
): Step {
  const key = requestKey(operation);
  if (key === undefined) return run(state, operation);
  const fingerprint = JSON.stringify(operation);
  const earlier = state.requests[key];
  if (earlier !== undefined) {
    return { state, outcome: earlier.fingerprint === fingerprint ? earlier.outcome : REUSED };
  }
  const { state: next, outcome } = run(state, operation);
  if (outcome.code !== "OK") return { state, outcome };
  return { state: { ...next, requests: { ...next.requests, [key]: { fingerprint, outcome } } }, outcome };
}
