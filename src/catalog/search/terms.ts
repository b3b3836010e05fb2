import { type Database, prepared, type TextStatement } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { invalidField } from "../../kernel/errors.ts";
import { searchableText } from "../searchable-text.ts";

/** A word as PostgreSQL's text search writes it, and what it may stand for. */
export interface Form {
  lexeme: string;
  /** The known words that begin so; of those with digits, their beginnings up to the first one. */
  words: readonly string[];
  /** The categories whose name has a word that begins so, and those below them. */
  categoryIds: readonly string[];
}

/** A word of a query. */
export interface Term {
  /** As the caller wrote it. */
  typed: string;
  /** What was typed, and what it may have been meant to be, the likeliest first. */
  forms: readonly [Form, ...Form[]];
}

/** The words of a query as tsqueries. */
export interface Search {
  /** What a product must have, by the text index. */
  match: string;
  /** What it must have too, when that begins too many words to look for it there; empty for nothing. */
  also: string;
  /** Any of the words, whole. */
  exact: string;
  /** Any word that begins so, or a category that is named so. */
  loose: string;
}

const MAX_TERMS = 16;
/**
 * When more words than these begin as a term does, they are looked for by that beginning. It is not done
 * always, because it costs ten times as much: the text index then collects all places of all of them before
 * it looks at the other terms.
 */
const MAX_WORDS = 16;
/** Shorter terms with digits begin numbers of all kinds. */
const MIN_DIGITS = 3;
/** A term that stands for more categories than these names none in particular, and is a word like others. */
const MAX_CATEGORIES = 50;

// Hidden in a query of its own, the array is as long as any to the planner, which then plans once.
export const READ_TERMS = formsOf("unnest((select $1::text[])) with ordinality as typed (term, place)");

/** The statement that reads what words stand for. @param typed a relation of each `term` with its `place` */
export function formsOf(typed: string): TextStatement {
  return prepared(`
  select place::int, lexeme,
    array(
      select word from search_word where word ~>=~ lexeme and word ~<~ (lexeme || chr(1114111))
      order by word using ~<~ limit ${MAX_WORDS + 1}
    ) as words,
    array(
      with recursive named (id, depth) as (
        (
          select id, 1 from category
          where to_tsvector('simple', ${searchableText("name")}) @@ (quote_literal(lexeme) || ':*')::tsquery
          limit ${MAX_CATEGORIES + 1}
        )
        union all
        select category.id, depth + 1 from category join named on parent_id = named.id where depth < 8
      )
      select id::text from named limit ${MAX_CATEGORIES + 1}
    ) as category_ids
  from ${typed}, unnest(to_tsvector('simple', term))
  order by place, positions[1]`);
}

interface Row {
  /** From 1. */
  place: number;
  lexeme: string;
  words: string[];
  category_ids: string[];
}

/**
 * Punctuation separates words, as it does in the indexed text, so that nothing a caller types is an operator,
 * nor what stands for a category, which begins with a sign.
 */
const WORD = /[^\s!-/:-@[-`{-~]+/gu;

/** The words that a text is made of, as they are written. */
export function splitWords(text: string): readonly string[] {
  return text.match(WORD) ?? [];
}

/** The words of a query; none when there are only signs in it. INVALID_ARGUMENT for too many. */
export async function readTerms(db: Database, call: Call, query: string): Promise<Term[]> {
  const typed = splitWords(query);
  if (typed.length === 0) return [];
  assertFew(typed.length);
  const terms = (await readForms(db, call, READ_TERMS, typed)).map(({ place, form }) => ({
    typed: typed[place - 1] ?? "",
    forms: [form] as const,
  }));
  // One typed word can be several to PostgreSQL, when there are dashes or pictures in it.
  assertFew(terms.length);
  return terms;
}

/** What words stand for, each with its place among them, from 1. */
export async function readForms(
  db: Database,
  call: Call,
  statement: TextStatement,
  typed: readonly string[],
): Promise<{ place: number; form: Form }[]> {
  const rows = await db.read<Row>(call, statement, [typed]);
  return rows.map(({ place, lexeme, words, category_ids: ids }) => {
    const categoryIds = ids.length > MAX_CATEGORIES ? [] : [...new Set(ids)];
    return { place, form: { lexeme, words, categoryIds } };
  });
}

function assertFew(count: number): void {
  if (count > MAX_TERMS) throw invalidField("query", `must have at most ${MAX_TERMS} words`);
}

/** A term that no product has: no word begins so, and no category is named so. */
export function isUnknown({ forms }: Term): boolean {
  return forms.every(
    ({ lexeme, words, categoryIds }) => !hasDigit(lexeme) && words.length + categoryIds.length === 0,
  );
}

/** Whether not all words that begin as this one does are known. */
export function hasDigit(word: string): boolean {
  return /[0-9]/.test(word);
}

/** What finds the products that have all of the terms. */
export function searchOf(terms: readonly Term[]): Search {
  const forms = terms.flatMap((term) => term.forms);
  const broad = terms.filter(isBroad);
  const narrow = broad.length < terms.length ? terms.filter((term) => !isBroad(term)) : terms;
  return {
    match: allOf(narrow),
    also: narrow === terms ? "" : allOf(broad),
    exact: anyOf(forms.map(({ lexeme }) => quoted(lexeme))),
    loose: anyOf(
      forms.flatMap(({ lexeme, categoryIds }) => [`${quoted(lexeme)}:*`, ...categoryIds.map(categoryLexeme)]),
    ),
  };
}

function allOf(terms: readonly Term[]): string {
  return terms.map((term) => `(${operandOf(term)})`).join(" & ");
}

/** A term that begins many words. */
function isBroad({ forms }: Term): boolean {
  return forms.some(({ lexeme, words }) =>
    hasDigit(lexeme) ? lexeme.length < MIN_DIGITS : words.length > MAX_WORDS,
  );
}

function anyOf(operands: readonly string[]): string {
  return [...new Set(operands)].join(" | ");
}

/** What stands for a category in the indexed text. */
export function categoryLexeme(id: string): string {
  return quoted(`#${id}`);
}

/** What finds the products that have a term. */
export function operandOf({ forms }: Term): string {
  const operands = forms.flatMap(({ lexeme, words, categoryIds }) => [
    ...(hasDigit(lexeme) || words.length > MAX_WORDS ? [`${quoted(lexeme)}:*`] : words.map(wordOf)),
    ...categoryIds.map(categoryLexeme),
  ]);
  return anyOf(operands.length === 0 ? forms.map(({ lexeme }) => quoted(lexeme)) : operands);
}

/** A known word; one with a digit goes on after it. */
function wordOf(word: string): string {
  return hasDigit(word) ? `${quoted(word)}:*` : quoted(word);
}

function quoted(lexeme: string): string {
  return `'${lexeme.replace(/['\\]/g, "$&$&")}'`;
}

/** The query with each misspelled word replaced by what it most likely means; empty when there is none. */
export function correctedQuery(query: string, terms: readonly Term[]): string {
  const best = new Map(terms.map(({ typed, forms }) => [typed, forms[1]?.lexeme]));
  const corrected = query.replace(WORD, (typed) => best.get(typed) ?? typed);
  return corrected === query ? "" : corrected;
}
