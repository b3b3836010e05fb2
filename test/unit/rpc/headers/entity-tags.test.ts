import { expect, test } from "vitest";
import { parseEntityTags } from "../../../../src/rpc/headers/entity-tags.ts";

const SIZE = 1_000_000;

// In quadratic time each of these would take longer than a test may.
test.each<[string, string, number]>([
  ["spaces", " ".repeat(SIZE), 0],
  ["spaces before garbage", `${" ".repeat(SIZE)}x`, 0],
  ["commas before a tag", `${", ".repeat(SIZE)}"x"`, 1],
  ["quotes", '"'.repeat(SIZE), 0],
  ["a tag without its end", `"${"x".repeat(SIZE)}`, 0],
  ["prefixes of weak tags", "W/".repeat(SIZE), 0],
  ["empty tags", '"",'.repeat(SIZE), SIZE],
  ["tags before a tag without its end", `${'W/"x" ,'.repeat(SIZE)}"`, 0],
])("a long If-None-Match of %s is parsed in linear time", (_, list, count) => {
  expect(parseEntityTags(list)).toHaveLength(count);
});
