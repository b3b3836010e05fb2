import { type RawBuilder, sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import { type PreparedStatement, prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { MAX_PREFIX_WORDS } from "./plan.ts";
import { hasDigit, type QueryTerm } from "./query-terms.ts";

/** A column whose range is known for frequent words. */
export type RangeColumn = "price_minor" | "name";

/** The lowest and the highest value, inclusive, of a column among products. */
export interface SortRange {
  column: RangeColumn;
  low: string;
  high: string;
  /** Whether no value is in the range. */
  isEmpty: boolean;
}

interface RangeRow {
  /** Null if no range is known. */
  low: string | null;
  high: string | null;
  is_empty: boolean | null;
}

type RangeStatement = (
  wordTerms: readonly number[],
  words: readonly string[],
  categoryTerms: readonly number[],
  categoryIds: readonly string[],
) => PreparedStatement<RangeRow>;

/** Terms whose words are not all known are omitted: other products are in the range then, but none is missing. */
function prepareRange(column: RangeColumn, range: "price" | "name"): RangeStatement {
  const [value, min, max] = [sql.ref(column), sql.ref(`min_${range}`), sql.ref(`max_${range}`)];
  const edge = (direction: RawBuilder<unknown>) => sql`(
    select ${value} from product where category_id = named.id and active order by ${value} ${direction} limit 1
  )`;
  return prepare(
    (wordTerms, words, categoryTerms, categoryIds) => sql`
      select max(low)::text as low, min(high)::text as high, max(low) > min(high) as is_empty from (
        select min(low) as low, max(high) as high from (
          select term, ${min} as low, ${max} as high, completed_at is not null as is_known
          from unnest((select ${wordTerms}::int[]), (select ${words}::text[])) as typed (term, word)
          left join search_word_range using (word)
          union all
          select term, ${edge(sql`asc`)}, ${edge(sql`desc`)}, true
          from unnest((select ${categoryTerms}::int[]), (select ${categoryIds}::uuid[])) as named (term, id)
        ) as part group by term having bool_and(is_known)
      ) as term`,
  );
}

const findRange: Readonly<Record<RangeColumn, RangeStatement>> = {
  price_minor: prepareRange("price_minor", "price"),
  name: prepareRange("name", "name"),
};

/**
 * Returns a range of a column that contains all products which have the terms and are not deleted; undefined if none is
 * known. An empty range means that no product has all terms.
 */
export async function readSortRange(
  db: Database,
  call: Call,
  terms: readonly QueryTerm[],
  column: RangeColumn,
): Promise<SortRange | undefined> {
  const parts = terms.map(({ matches }) => ({
    // The query for any other term finds products by words that are not listed.
    isListed: matches.every(({ lexeme, words }) => !hasDigit(lexeme) && words.length <= MAX_PREFIX_WORDS),
    words: matches.flatMap(({ words }) => words),
    categoryIds: matches.flatMap(({ categoryIds }) => categoryIds),
  }));
  const listed = parts.filter(({ isListed }) => isListed);
  if (listed.length === 0) return undefined;
  const positions = (values: (part: (typeof parts)[number]) => readonly string[]) =>
    listed.flatMap((part, position) => values(part).map(() => position));
  const [row] = await db.read(
    call,
    findRange[column](
      positions(({ words }) => words),
      listed.flatMap(({ words }) => words),
      positions(({ categoryIds }) => categoryIds),
      listed.flatMap(({ categoryIds }) => categoryIds),
    ),
  );
  return row === undefined || row.low === null || row.high === null
    ? undefined
    : { column, low: row.low, high: row.high, isEmpty: row.is_empty === true };
}
