import { pick } from "../harness/numbers.ts";
import { CATEGORIES, type ListInit } from "./requests.ts";

/** A kind of search that visitors make. */
export interface QueryKind {
  name: string;
  /** Returns the next query, for a shop with a number of products. */
  next(random: () => number, products: number): ListInit & { query: string };
}

type Random = () => number;

/** The words of a seeded product, and its category. */
interface ProductWords {
  category: (typeof CATEGORIES)[number];
  noun: string;
  brand: string;
  material: string;
}

/** Picks words that occur together in a seeded product. */
function pickProductWords(random: Random): ProductWords {
  const category = pick(CATEGORIES, random);
  const [noun] = pick(category.productKinds, random);
  return {
    category,
    noun,
    brand: pick(category.brands, random),
    material: pick(category.materials, random),
  };
}

/** Returns the last word of a name, such as "Headphones". */
const lastWord = (name: string): string => name.slice(name.lastIndexOf(" ") + 1);

/** Omits, doubles, replaces or swaps letters after the first one, which people rarely mistype. */
function misspell(word: string, random: Random): string {
  const at = 1 + Math.floor(random() * (word.length - 2));
  const [before, here, next, after] = [
    word.slice(0, at),
    word[at] ?? "",
    word[at + 1] ?? "",
    word.slice(at + 2),
  ];
  return pick(
    [
      before + next + after,
      before + here + here + next + after,
      before + next + here + after,
      `${before}${pick([..."aeiostrn"], random)}${next}${after}`,
    ],
    random,
  );
}

/** Returns the beginning of a phrase, as sent while it is being typed. */
const typePartially = (phrase: string, random: Random): string =>
  phrase.slice(0, 2 + Math.floor(random() * (phrase.length - 2))).trim();

const SORT_ORDERS = ["price", "price desc", "popularity desc", "rating desc", "create_time desc", "name"];

/** All kinds of queries. Each exercises a different strategy. */
export const QUERY_KINDS: readonly QueryKind[] = [
  {
    name: "one word",
    next: (random) => {
      const { noun, brand, material } = pickProductWords(random);
      return { query: pick([lastWord(noun), lastWord(brand), lastWord(material)], random) };
    },
  },
  {
    name: "two words",
    next: (random) => {
      const { noun, brand, material } = pickProductWords(random);
      return { query: `${pick([brand, material], random)} ${lastWord(noun)}` };
    },
  },
  {
    name: "partly typed",
    next: (random) => {
      const { noun, brand, material } = pickProductWords(random);
      return {
        query: typePartially(pick([noun, brand, `${material} ${noun}`, `${brand} ${noun}`], random), random),
      };
    },
  },
  {
    name: "misspelled",
    next: (random) => {
      const { noun, brand } = pickProductWords(random);
      const word = [lastWord(noun), lastWord(brand)].find(({ length }) => length > 4) ?? "Keyboard";
      const wrong = misspell(word, random);
      return { query: pick([wrong, `${wrong} ${noun === word ? brand : noun}`], random) };
    },
  },
  {
    name: "rare",
    next: (random, products) => {
      const { noun, brand } = pickProductWords(random);
      const number = String(1 + Math.floor(random() * products)).padStart(6, "0");
      const model = `${pick([..."CEPUL"], random)}${10 + Math.floor(random() * 90)}`;
      return { query: pick([`SKU-${number}`, number, `${brand} ${noun} ${model}`], random) };
    },
  },
  {
    name: "with filters",
    next: (random) => {
      const { category, noun, brand, material } = pickProductWords(random);
      const query = pick([lastWord(noun), material], random);
      return pick(
        [
          { query, categoryId: category.id },
          { query, brand, inStockOnly: true },
          { query, categoryId: category.id, maxPrice: { currencyCode: "EUR", minorUnits: 10_000n } },
          { query, inStockOnly: true, minPrice: { currencyCode: "EUR", minorUnits: 5_000n } },
        ],
        random,
      );
    },
  },
  {
    name: "with sort order",
    next: (random) => {
      const { noun, brand } = pickProductWords(random);
      return {
        query: pick([lastWord(noun), brand, `${brand} ${noun}`], random),
        orderBy: pick(SORT_ORDERS, random),
      };
    },
  },
  {
    name: "no matches",
    next: (random) => {
      const letters = Array.from({ length: 7 }, () => pick([..."bcdfghjklmnpqrstvwxz"], random));
      return { query: letters.join("") };
    },
  },
];
