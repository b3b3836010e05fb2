import { type RawBuilder, sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import { type PreparedStatement, prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { invalidField } from "../../kernel/errors.ts";
import { MAX_DEPTH } from "../category/category-tree.ts";
import { searchableText } from "../searchable-text.ts";
import { MAX_CATEGORIES, MAX_PREFIX_WORDS, MIN_NUMBER_LENGTH } from "./plan.ts";

/** A term of a query: a typed word with its matches. */
export interface QueryTerm {
  /** The word as the caller typed it. */
  typed: string;
  /** The matches of the word itself, then those of its spelling corrections, the likeliest first. */
  matches: readonly [TermMatch, ...TermMatch[]];
}

/** The matches of a word. */
export interface TermMatch {
  /** The word as PostgreSQL's text search normalizes it. */
  lexeme: string;
  /** Indexed words that begin with it, one more than are expanded. Indexed words end at their first digit. */
  words: readonly string[];
  /** Ids of categories with a word in their name that begins with it, and of their descendants. */
  categoryIds: readonly string[];
}

/** A query as tsqueries. */
export interface SearchQuery {
  /** Terms that are looked up in the text index. */
  indexed: string;
  /** Terms that are tested on the matches of the indexed ones; empty for none. */
  filtered: string;
  /** Any of the whole words, for ranking. */
  wholeWords: string;
  /** Any word that begins with one of the words, or any of the categories, for ranking. */
  prefixes: string;
}

/** Maximum number of words of a query. */
const MAX_TERMS = 16;

/** Everything but white space and ASCII punctuation, which `searchableText` replaces in the indexed text too. */
const WORD = /[^\s!-/:-@[-`{-~]+/gu;

/** Splits a text into words, at the same characters as the indexed text. */
export function splitWords(text: string): readonly string[] {
  return text.match(WORD) ?? [];
}

/** A row of `matchStatement`. */
export interface MatchRow {
  /** Position of the word, from 1. */
  position: number;
  lexeme: string;
  words: string[];
  category_ids: string[];
}

/** A match of one of several words. */
export interface PositionedMatch {
  /** Position of the word, from 1. */
  position: number;
  match: TermMatch;
}

/**
 * Returns the statement that looks up the matches of words.
 * @param typed a relation of each word, as `term`, and its `position`
 */
export function matchStatement(typed: RawBuilder<unknown>): RawBuilder<MatchRow> {
  return sql`
  select position::int, lexeme,
    array(
      select word from search_word where word ~>=~ lexeme and word ~<~ (lexeme || chr(1114111))
      order by word using ~<~ limit ${sql.lit(MAX_PREFIX_WORDS + 1)}
    ) as words,
    array(
      with recursive named (id, depth) as (
        (
          select id, 1 from category
          where to_tsvector('simple', ${sql.raw(searchableText("name"))}) @@ (quote_literal(lexeme) || ':*')::tsquery
          limit ${sql.lit(MAX_CATEGORIES + 1)}
        )
        union all
        select category.id, depth + 1 from category join named on parent_id = named.id
        where depth < ${sql.lit(MAX_DEPTH)}
      )
      select id::text from named limit ${sql.lit(MAX_CATEGORIES + 1)}
    ) as category_ids
  from ${typed}, unnest(to_tsvector('simple', term))
  order by position, positions[1]`;
}

// In a subquery of its own the array has no known length, so that one plan serves arrays of any length.
const findWordMatches = prepare<[words: readonly string[]], MatchRow>((words) =>
  matchStatement(sql`unnest((select ${words}::text[])) with ordinality as typed (term, position)`),
);

/** Looks up the matches of words. */
export function readMatches(db: Database, call: Call, words: readonly string[]): Promise<PositionedMatch[]> {
  return queryMatches(db, call, findWordMatches(words));
}

/** Returns the matches that a statement of `matchStatement` finds. */
export async function queryMatches(
  db: Database,
  call: Call,
  statement: PreparedStatement<MatchRow>,
): Promise<PositionedMatch[]> {
  const rows = await db.read(call, statement);
  return rows.map(({ position, lexeme, words, category_ids: ids }) => {
    const categoryIds = ids.length > MAX_CATEGORIES ? [] : [...new Set(ids)];
    return { position, match: { lexeme, words, categoryIds } };
  });
}

/**
 * Parses a query; a query of punctuation alone has no terms.
 * @throws AppError invalid_argument for too many words
 */
export async function readTerms(db: Database, call: Call, query: string): Promise<QueryTerm[]> {
  const typed = splitWords(query);
  if (typed.length === 0) return [];
  assertTermCount(typed.length);
  const terms = (await readMatches(db, call, typed)).map(({ position, match }) => ({
    typed: typed[position - 1] ?? "",
    matches: [match] as const,
  }));
  // PostgreSQL splits some words further, at non-ASCII dashes and emoji.
  assertTermCount(terms.length);
  return terms;
}

function assertTermCount(count: number): void {
  if (count > MAX_TERMS) throw invalidField("query", `must have at most ${MAX_TERMS} words`);
}

/** Returns whether no product matches the term: no indexed word and no category name begins with it. */
export function hasNoMatch({ matches }: QueryTerm): boolean {
  return matches.every(
    ({ lexeme, words, categoryIds }) => !hasDigit(lexeme) && words.length + categoryIds.length === 0,
  );
}

/** Returns whether a word has a digit. Indexed words end at their first digit. */
export function hasDigit(word: string): boolean {
  return /[0-9]/.test(word);
}

/** Returns the query that finds the products with all terms; undefined without terms. */
export function toSearchQuery(terms: readonly QueryTerm[]): SearchQuery | undefined {
  if (terms.length === 0) return undefined;
  const selective = terms.filter((term) => !isBroad(term));
  const isFiltered = selective.length > 0 && selective.length < terms.length;
  const matches = terms.flatMap((term) => term.matches);
  return {
    indexed: allTerms(isFiltered ? selective : terms),
    filtered: isFiltered ? allTerms(terms.filter(isBroad)) : "",
    wholeWords: anyOperand(matches.map(({ lexeme }) => quoteLexeme(lexeme))),
    prefixes: anyOperand(
      matches.flatMap(({ lexeme, categoryIds }) => [prefixQuery(lexeme), ...categoryIds.map(categoryLexeme)]),
    ),
  };
}

/** Returns whether the text index would have to collect very many words for the term. */
function isBroad({ matches }: QueryTerm): boolean {
  return matches.some(({ lexeme, words }) =>
    hasDigit(lexeme) ? lexeme.length < MIN_NUMBER_LENGTH : words.length > MAX_PREFIX_WORDS,
  );
}

/** Returns the tsquery that finds the products with a term. */
export function buildTermQuery({ matches }: QueryTerm): string {
  const operands = matches.flatMap(({ lexeme, words, categoryIds }) => [
    ...(hasDigit(lexeme) || words.length > MAX_PREFIX_WORDS
      ? [prefixQuery(lexeme)]
      : words.map(indexedWordQuery)),
    ...categoryIds.map(categoryLexeme),
  ]);
  return anyOperand(operands.length === 0 ? matches.map(({ lexeme }) => quoteLexeme(lexeme)) : operands);
}

function allTerms(terms: readonly QueryTerm[]): string {
  return terms.map((term) => `(${buildTermQuery(term)})`).join(" & ");
}

function anyOperand(operands: readonly string[]): string {
  return [...new Set(operands)].join(" | ");
}

/** Returns the tsquery of an indexed word. One that ends with a digit is the prefix of several words. */
function indexedWordQuery(word: string): string {
  return hasDigit(word) ? prefixQuery(word) : quoteLexeme(word);
}

function prefixQuery(lexeme: string): string {
  return `${quoteLexeme(lexeme)}:*`;
}

/** Returns the lexeme of a category, which the text index has for each of its products. No typed word equals it. */
export function categoryLexeme(id: string): string {
  return quoteLexeme(`#${id}`);
}

function quoteLexeme(lexeme: string): string {
  return `'${lexeme.replace(/['\\]/g, "$&$&")}'`;
}

/** Returns the query with each corrected word replaced by its likeliest correction; empty if there is none. */
export function correctedQuery(query: string, terms: readonly QueryTerm[]): string {
  const corrections = new Map(terms.map(({ typed, matches }) => [typed, matches[1]?.lexeme]));
  const corrected = query.replace(WORD, (typed) => corrections.get(typed) ?? typed);
  return corrected === query ? "" : corrected;
}
