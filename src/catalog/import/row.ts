import type { FieldViolation } from "../../kernel/errors.ts";
import type { Money } from "../../kernel/money.ts";
import type { ProductInput } from "../product/product-writes.ts";
import type { ImportKey } from "./progress.ts";

/** Fields of a product that a row sets. */
export interface ProductFields
  extends Pick<ProductInput, "name" | "description" | "brand" | "imageUri" | "attributes"> {
  /** Slug and id of the category: either may be empty; both must name the same one. The id is in lower case. */
  categorySlug: string;
  categoryId: string;
  price: Money;
  /** Units on hand; undefined to leave the stock as it is. */
  stockQuantity: bigint | undefined;
  /** Undefined to leave the tax class as it is. */
  taxClass: string | undefined;
  /** Undefined to leave the weight as it is. */
  weightGrams: bigint | undefined;
}

/** A row with the fields of its product, or with the rule of the contract that it violates. */
export type ImportRow = { sku: string; fields: ProductFields } | { sku: string; violation: FieldViolation };

/** Consecutive rows of an import: one message of its stream. */
export interface ImportChunk extends ImportKey {
  /** Number of rows of the import before the first of these. */
  offset: number;
  /** Maximum number of products that mode FULL deletes; undefined for the default share of them. */
  maxDeletes: number | undefined;
  rows: readonly ImportRow[];
}

/** A row that is valid by the contract. */
export interface ValidRow {
  number: number;
  sku: string;
  fields: ProductFields;
}

/** A valid row with the id of its category. */
export interface CategorizedRow extends ValidRow {
  categoryId: string;
}

/** Collects the rows that are not imported. */
export type Reject = (row: Pick<ValidRow, "number" | "sku">, violation: FieldViolation) => void;
