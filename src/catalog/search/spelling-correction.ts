import { type RawBuilder, sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { FEW_RESULTS, INITIAL_SCAN_ROWS } from "./plan.ts";
import {
  buildTermQuery,
  hasDigit,
  hasNoMatch,
  type MatchRow,
  matchStatement,
  type PositionedMatch,
  type QueryTerm,
  queryMatches,
  readMatches,
  type TermMatch,
} from "./query-terms.ts";

/**
 * Bounds of the words that can be corrected. They keep page tokens, which hold the corrections, below 2,048 characters.
 */
const CORRECTION_BOUNDS = {
  /** Shorter words resemble too many others. */
  minLength: 4,
  maxBytes: 32,
  /** Maximum number of misspelled words in a query that is corrected. */
  maxWords: 3,
  /** Maximum number of corrections of one word. */
  maxCorrections: 2,
};

// The trigram index serves `%`: a similarity of at least 0.3. A word that is typed in part is as similar as one that
// is typed to its end.
const findSimilarWords = prepare<[words: readonly string[]], MatchRow>((words) => {
  const { minLength, maxBytes, maxCorrections } = CORRECTION_BOUNDS;
  return matchStatement(sql`(
  select correction.word as term, (index - 1) * ${sql.lit(maxCorrections)} + rank as position
  from unnest((select ${words}::text[])) with ordinality as misspelled (lexeme, index)
  cross join lateral (
    select word, row_number() over () as rank from (
      select word from search_word
      where word % misspelled.lexeme and word !~ '[0-9]'
        and length(word) >= ${sql.lit(minLength)} and octet_length(word) <= ${sql.lit(maxBytes)}
      order by
        greatest(
          similarity(word, misspelled.lexeme),
          similarity(left(word, length(misspelled.lexeme)), misspelled.lexeme)
        ) desc,
        similarity(word, misspelled.lexeme) desc, word
      limit ${sql.lit(maxCorrections)}
    ) as ordered
  ) as correction
) as corrections`);
});

/**
 * Returns the terms with corrections of the misspelled ones; undefined if there are none, or if they match
 * nothing either. Misspelled are the words that no product has or, if there are none, the words that fewer than
 * `FEW_RESULTS` products have, regardless of the other filters; they keep their own matches too.
 */
export async function correctTerms(
  db: Database,
  call: Call,
  terms: readonly QueryTerm[],
): Promise<QueryTerm[] | undefined> {
  const unknown = terms.filter(hasNoMatch);
  const misspelled =
    unknown.length > 0 ? unknown : await findRareTerms(db, call, terms.filter(isCorrectable));
  if (misspelled.length === 0 || misspelled.length > CORRECTION_BOUNDS.maxWords) return undefined;
  if (!misspelled.every(isCorrectable)) return undefined;
  const lexemes = misspelled.map(ownLexeme);
  const similar = await queryMatches(db, call, findSimilarWords(lexemes));
  const corrected = terms.map((term): QueryTerm => {
    const [own] = term.matches;
    const index = lexemes.indexOf(own.lexeme);
    if (index < 0) return term;
    const corrections = Array.from(
      { length: CORRECTION_BOUNDS.maxCorrections },
      (_, rank) => matchAt(similar, index * CORRECTION_BOUNDS.maxCorrections + rank + 1) ?? [],
    ).flat();
    return { ...term, matches: [own, ...corrections.filter(({ lexeme }) => lexeme !== own.lexeme)] };
  });
  return corrected.some(hasNoMatch) || !corrected.some(isCorrected) ? undefined : corrected;
}

/** Returns the match of the word at a position; undefined if PostgreSQL recognizes no word there. */
function matchAt(matches: readonly PositionedMatch[], position: number): TermMatch | undefined {
  return matches.find((one) => one.position === position)?.match;
}

function ownLexeme({ matches: [own] }: QueryTerm): string {
  return own.lexeme;
}

/** Returns whether a term is a single word without digits, as typed and as parsed by PostgreSQL, within the bounds. */
function isCorrectable(term: QueryTerm): boolean {
  const lexeme = ownLexeme(term);
  const isSingleWord = term.typed.toLowerCase() === lexeme && !hasDigit(lexeme);
  return (
    isSingleWord &&
    lexeme.length >= CORRECTION_BOUNDS.minLength &&
    Buffer.byteLength(lexeme) <= CORRECTION_BOUNDS.maxBytes
  );
}

function isCorrected({ matches }: QueryTerm): boolean {
  return matches.length > 1;
}

/** Returns the terms that fewer than `FEW_RESULTS` products have. */
async function findRareTerms(
  db: Database,
  call: Call,
  terms: readonly QueryTerm[],
): Promise<readonly QueryTerm[]> {
  // Most terms are frequent, and occur in the newest products; the text index would collect all their matches.
  const rareInNewest = await filterRareTerms(db, call, terms, (queries) => {
    const counts = queries.map((query) => sql`count(*) filter (where search @@ ${query})`);
    return sql`
      select array[${sql.join(counts)}]::int[] as counts
      from (select search from product where active order by id desc limit ${sql.lit(INITIAL_SCAN_ROWS)}) as newest`;
  });
  return filterRareTerms(db, call, rareInNewest, (queries) => {
    // With a limit of FEW_RESULTS, the planner would read the table until it has found that many of a frequent word.
    const counts = queries.map(
      (query) => sql`(
        select count(*) from (select from product where search @@ ${query} and active limit 100) as found
      )`,
    );
    return sql`select array[${sql.join(counts)}]::int[] as counts`;
  });
}

/** Returns the terms of which a statement counts fewer than `FEW_RESULTS` products. */
async function filterRareTerms(
  db: Database,
  call: Call,
  terms: readonly QueryTerm[],
  countEach: (queries: readonly RawBuilder<unknown>[]) => RawBuilder<{ counts: number[] }>,
): Promise<readonly QueryTerm[]> {
  if (terms.length === 0) return terms;
  const [row] = await db.read(call, countEach(terms.map((term) => sql`${buildTermQuery(term)}::tsquery`)));
  return terms.filter((_, index) => (row?.counts[index] ?? 0) < FEW_RESULTS);
}

/** Encodes corrections as text for a page token, so that the next pages search for the same words. */
export function encodeCorrections(terms: readonly QueryTerm[]): string {
  return terms
    .flatMap(({ matches: [, ...corrections] }, index) =>
      corrections.length > 0 ? [[index, ...corrections.map(({ lexeme }) => lexeme)].join(" ")] : [],
    )
    .join(";");
}

/** Decodes the corrections of a page token and returns the terms with them. */
export async function loadCorrections(
  db: Database,
  call: Call,
  terms: readonly QueryTerm[],
  text: string,
): Promise<readonly QueryTerm[]> {
  if (text === "") return terms;
  const corrections = new Map(
    text.split(";").map((entry) => {
      const [index, ...words] = entry.split(" ");
      return [Number(index), words];
    }),
  );
  const wordsOf = (index: number): readonly string[] => corrections.get(index) ?? [];
  const matches = await readMatches(
    db,
    call,
    terms.flatMap((_, index) => wordsOf(index)),
  );
  let position = 0;
  return terms.map(({ typed, matches: [own] }, index) => {
    const corrected = wordsOf(index).flatMap(() => {
      position += 1;
      return matchAt(matches, position) ?? [];
    });
    return { typed, matches: [own, ...corrected] };
  });
}
