import { expect, test } from "vitest";
import { TagVersions } from "../../../../src/infra/cache/tag-versions.ts";

const MAX_TAGS = 100_000;

test("An entry is outdated once one of its tags was invalidated after its version.", () => {
  const versions = new TagVersions();
  const before = versions.current;
  versions.invalidate(["product:1"]);
  expect(versions.isCurrent(["product:1", "product:2"], before)).toBe(false);
  expect(versions.isCurrent(["product:2"], before)).toBe(true);
  expect(versions.isCurrent(["product:1"], versions.current)).toBe(true);
});

test("With more invalidated tags than it remembers, older entries count as outdated and never as current.", () => {
  const versions = new TagVersions();
  versions.invalidate(["product:first"]);
  const before = versions.current;
  versions.invalidate(["product:invalidated"]);
  const after = versions.current;
  // These replace both tags: an entry that depended on a forgotten tag cannot be told from others.
  for (let count = 0; count < MAX_TAGS; count += 1) versions.invalidate([`product:${count}`]);
  expect(versions.isCurrent(["product:invalidated"], before)).toBe(false);
  expect(versions.isCurrent(["product:other"], before)).toBe(false);
  expect(versions.isCurrent(["product:invalidated"], after)).toBe(true);
  expect(versions.isCurrent(["product:7"], versions.current)).toBe(true);
  expect(versions.isCurrent(["product:7"], after)).toBe(false);
});

test("One invalidation of more tags than it remembers makes entries with any of them outdated.", () => {
  const versions = new TagVersions();
  const before = versions.current;
  versions.invalidate(Array.from({ length: 1.5 * MAX_TAGS }, (_, count) => `sku:${count}`));
  expect(versions.isCurrent(["sku:0"], before)).toBe(false);
  expect(versions.isCurrent(["sku:149999"], before)).toBe(false);
  expect(versions.isCurrent(["sku:0"], versions.current)).toBe(true);
});

test("A tag that is invalidated again is remembered as of the last time.", () => {
  const versions = new TagVersions();
  versions.invalidate(["product:hot"]);
  for (let count = 0; count < MAX_TAGS - 1; count += 1) versions.invalidate([`product:${count}`]);
  const before = versions.current;
  versions.invalidate(["product:hot"]);
  versions.invalidate(["product:new"]);
  expect(versions.isCurrent(["product:hot"], before)).toBe(false);
  expect(versions.isCurrent(["product:cold"], before)).toBe(true);
});

test("Invalidating all makes every earlier entry outdated.", () => {
  const versions = new TagVersions();
  const before = versions.current;
  versions.invalidateAll();
  expect(versions.isCurrent(["product:cold"], before)).toBe(false);
  expect(versions.isCurrent(["product:cold"], versions.current)).toBe(true);
});
