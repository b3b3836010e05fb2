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

/** Records throttled invalidations of as many products as are recorded, in the order of their numbers. */
function throttleManyProducts(versions: TagVersions, nowMs: number): void {
  for (let count = 0; count < MAX_TAGS; count += 1) {
    versions.invalidateThrottled([{ tag: `product:${count}`, version: 1n }], nowMs);
  }
}

test("100,000 throttled tags leave the entries of other tags valid and drop no record of an invalidation", () => {
  const versions = new TagVersions();
  const before = versions.current;
  versions.invalidate(["category:changed"]);
  versions.invalidateThrottled([{ tag: "product:first", version: 1n }], 0);
  throttleManyProducts(versions, 5_000);
  expect(versions.isCurrent(["category:other", "product:x"], before)).toBe(true);
  expect(versions.isThrottledSince(["category:other"], before)).toBe(false);
  expect(versions.mayLackChanges(["category:other"], 5_000)).toBe(false);
  expect(versions.isCurrent(["category:changed"], before)).toBe(false);
});

test("a throttled tag whose record was dropped counts as invalidated, with others of its kind", () => {
  const versions = new TagVersions();
  const before = versions.current;
  versions.invalidateThrottled([{ tag: "product:first", version: 1n }], 1_000);
  const after = versions.current;
  throttleManyProducts(versions, 5_000);
  for (const tag of ["product:first", "product:other"]) {
    expect(versions.isThrottledSince([tag], before)).toBe(true);
    expect(versions.isThrottledSince([tag], after)).toBe(false);
    expect(versions.mayLackChanges([tag], 2_049)).toBe(true);
    expect(versions.mayLackChanges([tag], 2_050)).toBe(false);
  }
  expect(versions.hasThrottled({ tag: "product:first", version: 1n })).toBe(false);
  expect(versions.hasThrottled({ tag: "product:1", version: 1n })).toBe(true);
});

test("many invalidations drop no record of a throttled one", () => {
  const versions = new TagVersions();
  versions.invalidateThrottled([{ tag: "product:first", version: 1n }], 0);
  for (let count = 0; count <= MAX_TAGS; count += 1) versions.invalidate([`product:${count}`]);
  expect(versions.mayLackChanges(["product:first"], 500)).toBe(true);
});
