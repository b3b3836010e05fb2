import { type ModelState, OUT_OF_STOCK, productOf, type Step, stockOf } from "./model-state.ts";
import type { ImportProducts, StockWrite } from "./operation.ts";

/** Returns what a change of the stock or the prices of products does to a state. */
export function changeStock(state: ModelState, operation: StockWrite): Step {
  if (operation.method === "ImportProducts") return importProducts(state, operation);
  if (operation.method === "Recount") return setOnHand(state, operation.product, operation.onHand);
  const { product, delta, expected } = operation;
  const before = productOf(state, product);
  if (expected !== undefined && expected !== stockOf(before)) {
    return { state, outcome: { code: "Aborted", reason: "STOCK_CHANGED" } };
  }
  return setOnHand(state, product, before.onHand + delta);
}

function setOnHand(state: ModelState, product: number, onHand: number): Step {
  const after = { ...productOf(state, product), onHand };
  if (stockOf(after) < 0) return { state, outcome: OUT_OF_STOCK };
  return {
    state: { ...state, products: state.products.with(product, after) },
    outcome: { code: "OK", stock: stockOf(after), onHand },
  };
}

function importProducts(state: ModelState, { lines }: ImportProducts): Step {
  const products = [...state.products];
  let updated = 0;
  for (const { product, stock, price } of lines) {
    const before = productOf(state, product);
    const after = { ...before, onHand: (stock ?? stockOf(before)) + before.reserved, price };
    if (after.onHand !== before.onHand || after.price !== before.price) updated += 1;
    products[product] = after;
  }
  const outcome = { code: "OK" as const, updated, unchanged: lines.length - updated };
  return { state: { ...state, products }, outcome };
}
