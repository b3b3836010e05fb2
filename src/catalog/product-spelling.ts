import { type Database, prepared } from "../infra/postgres.ts";
import type { Call } from "../kernel/call.ts";
import { hasDigit, isUnknown, operandOf, readForms, type Term } from "./product-search.ts";

/** A search that finds fewer products than these may be misspelled. */
export const LITTLE = 3;
/** Shorter words resemble too many others. */
const MIN_LETTERS = 4;
/** More misspelled words than these are no query that anybody meant. With `MAX_BYTES` it keeps page tokens short. */
const MAX_CORRECTED = 3;
const MAX_BYTES = 32;

// Trigrams (the index knows `%`: similarity of 0.3 or more). A word of which so much has been typed is as near
// as a word that is written wrongly to its end.
const NEAREST = prepared(`
  select lexeme, array(
    select word from search_word
    where word % lexeme and word !~ '[0-9]' and length(word) >= ${MIN_LETTERS} and octet_length(word) <= ${MAX_BYTES}
    order by greatest(similarity(word, lexeme), similarity(left(word, length(lexeme)), lexeme)) desc,
      similarity(word, lexeme) desc, word
    limit 2
  ) as words
  from unnest($1::text[]) as lexeme`);

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
  const rows = await db.read<{ lexeme: string; words: string[] }>(call, NEAREST, [wrong.map(lexemeOf)]);
  const nearest = new Map(rows.map(({ lexeme, words }) => [lexeme, words.filter((word) => word !== lexeme)]));
  const corrected = await withCorrections(
    db,
    call,
    terms,
    terms.map((term) => nearest.get(lexemeOf(term)) ?? []),
  );
  return corrected.some(isUnknown) || !corrected.some(isCorrected) ? undefined : corrected;
}

/** The terms with other words beside them, and all that these stand for. */
async function withCorrections(
  db: Database,
  call: Call,
  terms: readonly Term[],
  corrections: readonly (readonly string[])[],
): Promise<Term[]> {
  const forms = await readForms(db, call, corrections.flat());
  let place = 0;
  return terms.map(({ typed, forms: [own] }, at) => {
    const others = (corrections[at] ?? []).flatMap(() => {
      place += 1;
      return forms.find((found) => found.place === place)?.form ?? [];
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
  if (terms.length === 0) return [];
  // With a limit of 3, PostgreSQL would read the table until it has met 3 of a frequent word.
  const count = (_: Term, at: number) =>
    `(select count(*) from (select from product where search @@ $${at + 1}::tsquery and active limit 100) as found)`;
  const text = `select array[${terms.map(count).join(", ")}]::int[] as counts`;
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
