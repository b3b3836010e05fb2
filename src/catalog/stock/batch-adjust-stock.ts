import { sql } from "kysely";
import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import {
  availableUnits,
  type Inventory,
  type StockAdjustment,
  type StockTransition,
} from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError } from "../../kernel/errors.ts";
import { productTags } from "../product/product-row.ts";
import { updateAvailability } from "./availability.ts";

/** The stock of a product after a line of a batch. */
export interface AdjustedStock {
  productId: string;
  /** Units that can be ordered. */
  stockQuantity: bigint;
  onHandQuantity: bigint;
}

/** The error for which a line of a batch changed nothing. */
export interface AdjustmentError {
  /** Name of the gRPC code. */
  code: string;
  reason: string;
  message: string;
}

/** The result of a line. Plain values, since the results are stored for repeats of the request. */
export type AdjustmentResult = { stock: AdjustedStock } | { error: AdjustmentError };

/** Adjustments that are made in one transaction. */
export interface AdjustmentBatch {
  adjustments: readonly StockAdjustment[];
  requestId: string;
}

/**
 * Changes the stock of products in one transaction, once for each request_id. A line that fails changes nothing and does
 * not stop the others.
 * @returns the results of the lines, in their order
 * @throws AppError invalid_argument when the request_id was used for another request
 */
export async function batchAdjustStock(
  { db, inventory }: { db: Database; inventory: Inventory },
  call: Call,
  { adjustments, requestId }: AdjustmentBatch,
): Promise<AdjustmentResult[]> {
  const options = { method: "BatchAdjustStock", requestId };
  const { result } = await runMutation(db, call, options, adjustments, async (tx) => {
    const outcomes = await inventory.adjustAll(tx, adjustments);
    const transitions = new Map<string, StockTransition>();
    const results = outcomes.map((outcome) => {
      if (outcome instanceof AppError) return { error: toAdjustmentError(outcome) };
      const { productId, after } = outcome;
      transitions.set(productId, {
        ...outcome,
        before: transitions.get(productId)?.before ?? outcome.before,
      });
      return { stock: { productId, stockQuantity: availableUnits(after), onHandQuantity: after.onHand } };
    });
    await applyTransitions(tx, transitions);
    return results;
  });
  return result;
}

/** Updates the availability of the products and drops the cached responses that show them. */
async function applyTransitions(tx: Tx, transitions: ReadonlyMap<string, StockTransition>): Promise<void> {
  if (transitions.size === 0) return;
  await updateAvailability(tx, [...transitions.values()]);
  const products = await tx.query(sql<{ id: string; sku: string }>`
    select id, sku from product where id = any(${[...transitions.keys()]}::uuid[])`);
  tx.invalidate(...products.flatMap(productTags), "catalog");
}

function toAdjustmentError({ code, message, details }: AppError): AdjustmentError {
  return { code: code.toUpperCase(), reason: details.reason, message };
}
