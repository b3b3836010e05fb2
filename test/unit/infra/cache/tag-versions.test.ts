import { expect, test } from "vitest";
import { TagVersions } from "../../../../src/infra/cache/tag-versions.ts";

const MAX_TAGS = 100_000;

test("an entry is stale once one of its tags was invalidated after its version", () => {
  const versions = new TagVersions();
  const before = versions.current;
  versions.invalidate(["product:1"]);
  expect(versions.isCurrent(["product:1", "product:2"], before)).toBe(false);
  expect(versions.isCurrent(["product:2"], before)).toBe(true);
  expect(versions.isCurrent(["product:1"], versions.current)).toBe(true);
});

test("with more invalidated tags than are recorded, older entries count as stale", () => {
  const versions = new TagVersions();
  versions.invalidate(["product:first"]);
  const before = versions.current;
  versions.invalidate(["product:invalidated"]);
  const after = versions.current;
  // These evict both tags: an entry with an evicted tag cannot be distinguished from others.
  for (let count = 0; count < MAX_TAGS; count += 1) versions.invalidate([`product:${count}`]);
  expect(versions.isCurrent(["product:invalidated"], before)).toBe(false);
  expect(versions.isCurrent(["product:other"], before)).toBe(false);
  expect(versions.isCurrent(["product:invalidated"], after)).toBe(true);
  expect(versions.isCurrent(["product:7"], versions.current)).toBe(true);
  expect(versions.isCurrent(["product:7"], after)).toBe(false);
});

test("one invalidation of more tags than are recorded makes entries with any of them stale", () => {
  const versions = new TagVersions();
  const before = versions.current;
  versions.invalidate(Array.from({ length: 1.5 * MAX_TAGS }, (_, count) => `sku:${count}`));
  expect(versions.isCurrent(["sku:0"], before)).toBe(false);
  expect(versions.isCurrent(["sku:149999"], before)).toBe(false);
  expect(versions.isCurrent(["sku:0"], versions.current)).toBe(true);
});

test("a tag that is invalidated again counts as invalidated in the last version", () => {
  const versions = new TagVersions();
  versions.invalidate(["product:hot"]);
  for (let count = 0; count < MAX_TAGS - 1; count += 1) versions.invalidate([`product:${count}`]);
  const before = versions.current;
  versions.invalidate(["product:hot"]);
  versions.invalidate(["product:new"]);
  expect(versions.isCurrent(["product:hot"], before)).toBe(false);
  expect(versions.isCurrent(["product:cold"], before)).toBe(true);
});

test("invalidating all tags makes every earlier entry stale", () => {
  const versions = new TagVersions();
  const before = versions.current;
  versions.invalidateAll();
  expect(versions.isCurrent(["product:cold"], before)).toBe(false);
  expect(versions.isCurrent(["product:cold"], versions.current)).toBe(true);
});
