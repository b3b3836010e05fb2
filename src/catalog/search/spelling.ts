import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import {
  type Form,
  formsOf,
  hasDigit,
  isUnknown,
  operandOf,
  READ_TERMS,
  readForms,
  type Term,
} from "./terms.ts";

/** A search that finds fewer products than these may be misspelled. */
export const LITTLE = 3;
/** Shorter words resemble too many others. */
const MIN_LETTERS = 4;
/** More misspelled words than these are no query that anybody meant. With `MAX_BYTES` it keeps page tokens short. */
const MAX_CORRECTED = 3;
/** Among so many of the newest products frequent words are met. */
const MET = 1_000;
const MAX_BYTES = 32;

/** So many words are taken for what a misspelled one may mean. */
const NEAREST = 2;

// Trigrams (the index knows `%`: similarity of 0.3 or more). A word of which so much has been typed is as near
// as a word that is written wrongly to its end.
const READ_NEAREST = formsOf(`(
  select near.word as term, (at - 1) * ${NEAREST} + rank as place
  from unnest((select $1::text[])) with ordinality as wrong (lexeme, at)
  cross join lateral (
    select word, row_number() over () as rank from (
      select word from search_word
      where word % wrong.lexeme and word !~ '[0-9]' and length(word) >= ${MIN_LETTERS} and octet_length(word) <= ${MAX_BYTES}
      order by greatest(similarity(word, wrong.lexeme), similarity(left(word, length(wrong.lexeme)), wrong.lexeme)) desc,
        similarity(word, wrong.lexeme) desc, word
      limit ${NEAREST}
    ) as ordered
  ) as near
) as nearest`);

/**
 * The terms with the words that misspelled ones may mean; undefined when nothing would be found with them
 * either. Misspelled is a word that no product has, or else one that next to none has, whatever other filters
 * say: then it stays beside its corrections.
 */
export async function correctTerms(
  db: Database,
  call: Call,
  terms: readonly Term[],
): Promise<Term[] | undefined> {
  const unknown = terms.filter(isUnknown);
  const wrong = unknown.length > 0 ? unknown : await rareTerms(db, call, terms.filter(isCorrectable));
  if (wrong.length === 0 || wrong.length > MAX_CORRECTED || !wrong.every(isCorrectable)) return undefined;
  const lexemes = wrong.map(lexemeOf);
  const nearest = await readForms(db, call, READ_NEAREST, lexemes);
  const corrected = terms.map((term): Term => {
    const [own] = term.forms;
    const first = lexemes.indexOf(own.lexeme) * NEAREST;
    if (first < 0) return term;
    const others = Array.from({ length: NEAREST }, (_, rank) => formAt(nearest, first + rank + 1));
    return { ...term, forms: [own, ...others.flat().filter(({ lexeme }) => lexeme !== own.lexeme)] };
  });
  return corrected.some(isUnknown) || !corrected.some(isCorrected) ? undefined : corrected;
}

/** What the word at a place stands for, if it is a word. */
function formAt(forms: readonly { place: number; form: Form }[], place: number): Form[] {
  return forms
    .filter((one) => one.place === place)
    .map(({ form }) => form)
    .slice(0, 1);
}

/** The terms with other words beside them, and all that these stand for. */
async function withCorrections(
  db: Database,
  call: Call,
  terms: readonly Term[],
  corrections: readonly (readonly string[])[],
): Promise<Term[]> {
  const forms = await readForms(db, call, READ_TERMS, corrections.flat());
  let place = 0;
  return terms.map(({ typed, forms: [own] }, at) => {
    const others = (corrections[at] ?? []).flatMap(() => {
      place += 1;
      return formAt(forms, place);
    });
    return { typed, forms: [own, ...others] };
  });
}

function lexemeOf({ forms: [own] }: Term): string {
  return own.lexeme;
}

/** One word to the caller and to PostgreSQL, in letters only. */
function isCorrectable(term: Term): boolean {
  const lexeme = lexemeOf(term);
  const isOne = term.typed.toLowerCase() === lexeme && !hasDigit(lexeme);
  return isOne && lexeme.length >= MIN_LETTERS && Buffer.byteLength(lexeme) <= MAX_BYTES;
}

function isCorrected({ forms }: Term): boolean {
  return forms.length > 1;
}

/** The terms that next to no product has. */
async function rareTerms(db: Database, call: Call, terms: readonly Term[]): Promise<Term[]> {
  // Most are frequent, and met at once; the text index would collect all that have them.
  const seldom = await fewer(db, call, terms, (each) => {
    const counts = each.map((words) => `count(*) filter (where search @@ ${words})`);
    const met = `select search from product where active order by id desc limit ${MET}`;
    return `select array[${counts.join(", ")}]::int[] as counts from (${met}) as product`;
  });
  return fewer(db, call, seldom, (each) => {
    // With a limit of 3, PostgreSQL would read the table until it has met 3 of a frequent word.
    const found = (words: string) => `select from product where search @@ ${words} and active limit 100`;
    const counts = each.map((words) => `(select count(*) from (${found(words)}) as found)`);
    return `select array[${counts.join(", ")}]::int[] as counts`;
  });
}

/** The terms of which a statement counts next to none. */
async function fewer(
  db: Database,
  call: Call,
  terms: readonly Term[],
  textOf: (words: readonly string[]) => string,
): Promise<Term[]> {
  if (terms.length === 0) return [];
  const text = textOf(terms.map((_, at) => `$${at + 1}::tsquery`));
  const [row] = await db.read<{ counts: number[] }>(call, { text }, terms.map(operandOf));
  return terms.filter((_, at) => (row?.counts[at] ?? 0) < LITTLE);
}

/** The corrections as a page token keeps them, by place, so that a list goes on as it began. */
export function noteCorrections(terms: readonly Term[]): string {
  return terms
    .flatMap(({ forms: [, ...others] }, place) =>
      others.length > 0 ? [[place, ...others.map(({ lexeme }) => lexeme)].join(" ")] : [],
    )
    .join(";");
}

/** The terms with the corrections of a page token. */
export async function applyCorrections(
  db: Database,
  call: Call,
  terms: readonly Term[],
  note: string,
): Promise<readonly Term[]> {
  if (note === "") return terms;
  const noted = new Map(
    note.split(";").map((entry) => {
      const [place, ...corrections] = entry.split(" ");
      return [Number(place), corrections];
    }),
  );
  return withCorrections(
    db,
    call,
    terms,
    terms.map((_, place) => noted.get(place) ?? []),
  );
}
