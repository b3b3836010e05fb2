/** A word that a standard term replaces. */
interface ReplacedWord {
  /** A regular expression of all forms of the word. */
  word: string;
  /** The terms to use instead. */
  instead: string;
}

/** Words that neither the documentation nor the source code uses. */
const REPLACED_WORDS: readonly ReplacedWord[] = [
  { word: "anew|thither|therein|thereof|lest", instead: "again, there, in it, of it, so that ... not" },
  { word: "all the same|anyhow", instead: "nevertheless" },
  { word: "(?:any|every|no|some)body", instead: "the caller, any caller, no caller, another customer" },
  { word: "answer(?:s|ed|ing)?", instead: "response, respond, return" },
  { word: "ask(?:s|ed) for", instead: "request" },
  { word: "at once", instead: "immediately, concurrently, together" },
  { word: "believes?", instead: "assume, trust" },
  { word: "bump(?:s|ed|ing)?", instead: "invalidate, increment" },
  { word: "cellars?|roofs?|rooms?", instead: "the name of the component" },
  { word: "comes? back", instead: "recover" },
  { word: "finds? out", instead: "detect" },
  { word: "for ever", instead: "permanently" },
  { word: "goods", instead: "products" },
  { word: "hopeful", instead: "likely" },
  { word: "(?:is|are) away", instead: "is unavailable" },
  { word: "knows", instead: "has recorded, has stored" },
  { word: "made[- ]up", instead: "nonexistent" },
  { word: "mend(?:s|ed|ing)?", instead: "restore, repair" },
  { word: "no use", instead: "unusable" },
  { word: "patience", instead: "timeout" },
  { word: "pays?|payer", instead: "is charged" },
  { word: "rush(?:es|ed)?", instead: "concurrent calls" },
  { word: "stands? for", instead: "mean" },
  { word: "takes? back", instead: "undo" },
  { word: "tells? apart", instead: "distinguish" },
  { word: "the other end", instead: "the peer" },
  { word: "tid(?:y|ies|ied)", instead: "run maintenance" },
  { word: "told", instead: "notified, informed" },
  { word: "turn(?:s|ed)? away", instead: "reject" },
  { word: "wanted", instead: "requested" },
  { word: "who(?:m|so|mso)?ever", instead: "the caller that" },
  { word: "worked at", instead: "handled" },
];

/** Words that contracts do not use either. Code may say that a peer refuses a connection. */
const REPLACED_IN_CONTRACTS: readonly ReplacedWord[] = [
  ...REPLACED_WORDS,
  { word: "refuse[sd]?", instead: "reject" },
];

/** A replaced word in a text. */
export interface FoundWord {
  /** The word as it stands in the text, in lower case. */
  word: string;
  instead: string;
}

const createFinder = (list: readonly ReplacedWord[]) => {
  const patterns = list.map(({ word, instead }) => ({
    pattern: new RegExp(`\\b(?:${word.replaceAll(" ", "\\s+")})\\b`, "gi"),
    instead,
  }));
  return (text: string): FoundWord[] =>
    patterns.flatMap(({ pattern, instead }) =>
      (text.match(pattern) ?? []).map((word) => ({ word: word.toLowerCase(), instead })),
    );
};

/** Returns the replaced words of a text. */
export const findReplacedWords = createFinder(REPLACED_WORDS);

/** Returns the replaced words of the comment of a contract. */
export const findReplacedWordsInContract = createFinder(REPLACED_IN_CONTRACTS);

/**
 * Returns the words of source code, for `findReplacedWords`: names such as findNobody and FIND_NOBODY become "find
 * nobody", and lines of one comment become one line.
 */
export const wordsOf = (source: string): string =>
  source
    .replace(/\n\s*(?:\*(?!\/)|\/\/|--)?\s*/g, " ")
    .replace(/(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, " ")
    .replaceAll("_", " ");
