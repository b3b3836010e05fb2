import { expect, test } from "vitest";
import { readPages } from "../support/docs/pages.ts";
import { findReplacedWords, wordsOf } from "../support/docs/word-list.ts";

/** The file with the list of words. */
const WORD_LIST = "test/support/docs/word-list.ts";

const files = readPages(
  "src/**/*.{ts,sql}",
  "packages/**/*.ts",
  "test/**/*.ts",
  "bench/**/*.ts",
  "proto/cartwright/**/*.proto",
).filter(({ path }) => path !== WORD_LIST && !path.startsWith("test/conformance/gen/"));

interface Exception {
  word: string;
  paths: RegExp;
  reason: string;
}

const EXCEPTIONS: readonly Exception[] = [
  {
    word: "bumps",
    paths: /^(src\/infra\/cache\/invalidation\/messages|test\/unit\/vocabulary\.test)\.ts$/,
    reason: "the name of the Redis channel that replicas of former versions use",
  },
  {
    word: "bump",
    paths: /^(src\/infra\/cache\/redis-tier|test\/unit\/vocabulary\.test)\.ts$/,
    reason: "the name of the Redis keys that replicas of former versions use",
  },
  {
    word: "nobody",
    paths: /^(src|test\/integration)\/infra\/embedded\//,
    reason: "the Unix user as which embedded stores run when the service runs as root",
  },
  {
    word: "nobody",
    paths: /^test\/unit\/(vocabulary|rpc\/policy\/contract-files)\.test\.ts$/,
    reason: "the example of a word that the check finds",
  },
  {
    word: "turned away",
    paths: /^test\/unit\/vocabulary\.test\.ts$/,
    reason: "the example of a phrase that the check finds",
  },
  {
    word: "pay",
    paths: /order|payment|history|vocabulary\.test/,
    reason: "orders are paid; the list is about costs",
  },
];

const isAllowed = (path: string, found: string) =>
  EXCEPTIONS.some(({ word, paths }) => word === found && paths.test(path));

test("source code, tests and contracts use standard terms in names, comments and messages", () => {
  expect(files.length).toBeGreaterThan(300);
  const errors = files.flatMap(({ path, text }) =>
    findReplacedWords(wordsOf(text))
      .filter(({ word }) => !isAllowed(path, word))
      .map(({ word, instead }) => `${path}: ${word}; instead: ${instead}`),
  );
  expect(errors).toEqual([]);
});

test.each(EXCEPTIONS)("the exception for $word is needed: $reason", ({ word, paths }) => {
  const allowed = files.filter(({ path }) => paths.test(path));
  const found = allowed.flatMap(({ text }) => findReplacedWords(wordsOf(text)));
  expect(found.map((one) => one.word)).toContain(word);
});

test.each(["findNobody", "FIND_NOBODY", "// for\n  // nobody", "an HTTPNobody", "`nobody`"])(
  "the check finds a replaced word in %j",
  (source) => {
    expect(findReplacedWords(wordsOf(source)).map(({ word }) => word)).toEqual(["nobody"]);
  },
);

test("the check finds phrases that two lines of a comment share", () => {
  const found = findReplacedWords(wordsOf("/**\n * Calls are turned\n * away.\n */"));
  expect(found.map(({ word }) => word)).toEqual(["turned away"]);
});
