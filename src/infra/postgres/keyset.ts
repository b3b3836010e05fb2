import { type RawBuilder, sql } from "kysely";
import type { Cursor } from "../../kernel/page.ts";

/** The sort order of a list. Its columns together are unique, so that a page begins exactly after a row. */
export interface Keyset {
  /** Name and PostgreSQL type of each column, most significant first. */
  columns: readonly { name: string; type: string }[];
  descending: boolean;
}

/** Newest first, for resources whose ids are UUIDv7, which sort by creation. */
export const NEWEST_ID_FIRST: Keyset = { columns: [{ name: "id", type: "uuid" }], descending: true };

/** Returns `order by` with the columns of a keyset. */
export function keysetOrder({ columns, descending }: Keyset): RawBuilder<unknown> {
  const direction = descending ? "desc" : "asc";
  return sql.raw(`order by ${columns.map(({ name }) => `${name} ${direction}`).join(", ")}`);
}

/**
 * Returns the condition that a row comes after a cursor, as one row comparison, which an index on the columns serves.
 * @param cursor values of the columns in the last row of the previous page; undefined on the first page
 */
export function keysetCondition(
  { columns, descending }: Keyset,
  cursor: Cursor | undefined,
): RawBuilder<boolean> | undefined {
  if (cursor === undefined) return undefined;
  const names = sql.raw(columns.map(({ name }) => name).join(", "));
  const values = sql.join(columns.map(({ type }, index) => sql`${cursor[index]}::${sql.raw(type)}`));
  return sql<boolean>`(${names}) ${sql.raw(descending ? "<" : ">")} (${values})`;
}
