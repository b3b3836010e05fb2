import type { Money } from "../../kernel/money.ts";
import type { ImportKey } from "./progress.ts";

/** What a row says of its product. */
export interface ProductFields {
  name: string;
  description: string;
  categorySlug: string;
  /** Empty: none. */
  brand: string;
  price: Money;
  /** Absent: as it is. */
  stockQuantity: bigint | undefined;
  imageUri: string;
  attributes: Record<string, string>;
}

/** Why a row cannot be imported. */
export interface RowFault {
  /** Empty when it is the row. */
  field: string;
  description: string;
}

/** A row as it came: good by its own rules, or not. */
export type ImportRow = { sku: string; goods: ProductFields } | { sku: string; fault: RowFault };

/** Some rows of an import, in their order. */
export interface ImportChunk extends ImportKey {
  /** How many rows of the import come before the first of these. */
  offset: number;
  items: readonly ImportRow[];
}
