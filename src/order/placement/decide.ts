import type { Outcome } from "../../infra/batch-writer/batch-writer.ts";
import { requestIdReused } from "../../infra/postgres/idempotency/run-idempotent.ts";
import { AppError } from "../../kernel/errors.ts";
import { firstResponse } from "../order-row.ts";
import type { Order } from "../order-types.ts";
import { type PlacedOrder, type Placement, requestKey } from "./placement.ts";
import { assertAvailable, priceOrder } from "./price-order.ts";
import type { EarlierOrder, PlacementState } from "./read-placements.ts";

/** A new order, and the placement that it comes from. */
export interface AcceptedOrder {
  order: Order;
  placement: Placement;
}

/** The decisions on placements. */
export interface Decisions {
  /** In the order of the placements. */
  outcomes: Outcome<PlacedOrder>[];
  accepted: AcceptedOrder[];
  /** The orders of earlier calls that were found. */
  repeated: EarlierOrder[];
}

/**
 * Decides on placements in their order, in memory: each one sees the stock and the promotions after the decisions
 * on earlier ones. A rejected placement takes nothing.
 */
export function decidePlacements(placements: readonly Placement[], state: PlacementState): Decisions {
  const levels = new Map(state.levels);
  const accepted = new Map<string, AcceptedOrder>();
  const repeated: EarlierOrder[] = [];

  function place(placement: Placement): PlacedOrder {
    const { lines, customerId } = placement;
    const key = requestKey(placement.owner, placement.requestId);
    const earlier = state.earlier.get(key);
    if (earlier !== undefined) {
      assertSameRequest(placement, earlier.fingerprint);
      repeated.push(earlier);
      return { order: firstResponse(earlier), replayed: earlier.id !== placement.orderId };
    }
    const sameRequest = accepted.get(key);
    if (sameRequest !== undefined) {
      assertSameRequest(placement, sameRequest.placement.fingerprint);
      return { order: sameRequest.order, replayed: true };
    }
    const customerError = state.customerErrors.get(customerId);
    if (customerError !== undefined) throw customerError;
    assertAvailable(placement, levels, state.products);
    const order = priceOrder(placement, state.products, state.now);
    state.promotions.take(placement, lines.length, state.now);
    for (const { productId, quantity } of lines) {
      const level = levels.get(productId);
      if (level !== undefined) levels.set(productId, { ...level, reserved: level.reserved + quantity });
    }
    accepted.set(key, { order, placement });
    return { order, replayed: false };
  }

  const outcomes = placements.map((placement): Outcome<PlacedOrder> => {
    try {
      return { result: place(placement) };
    } catch (error) {
      if (error instanceof AppError) return { error };
      throw error;
    }
  });
  return { outcomes, accepted: [...accepted.values()], repeated };
}

/** @throws AppError invalid_argument when the request_id was used for another request */
function assertSameRequest(placement: Placement, fingerprint: Buffer | null): void {
  const isSame =
    fingerprint !== null &&
    (placement.fingerprint.equals(fingerprint) || placement.olderFingerprint().equals(fingerprint));
  if (!isSame) throw requestIdReused();
}
