import { availableUnits, type StockLevel } from "./stock-level.ts";

/** The stock of a product before and after a change. */
export interface StockTransition {
  productId: string;
  before: StockLevel;
  after: StockLevel;
}

/** Returns whether the units that can be ordered have become 0, or have ceased to be. */
export function crossesZero({ before, after }: StockTransition): boolean {
  return availableUnits(before) > 0n !== availableUnits(after) > 0n;
}
