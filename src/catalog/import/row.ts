import type { FieldViolation } from "../../kernel/errors.ts";
import type { Money } from "../../kernel/money.ts";
import type { ProductInput } from "../product/product-writes.ts";
import type { ImportKey } from "./progress.ts";

/** Fields of a product that a row sets. */
export interface ProductFields
  extends Pick<ProductInput, "name" | "description" | "brand" | "imageUri" | "attributes"> {
  categorySlug: string;
  price: Money;
  /** Units on hand; undefined to leave the stock as it is. */
  stockQuantity: bigint | undefined;
}

/** A row with the fields of its product, or with the rule of the contract that it violates. */
export type ImportRow = { sku: string; fields: ProductFields } | { sku: string; violation: FieldViolation };

/** Consecutive rows of an import: one message of its stream. */
export interface ImportChunk extends ImportKey {
  /** Number of rows of the import before the first of these. */
  offset: number;
  rows: readonly ImportRow[];
}
