import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Category } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import {
  clientsOf,
  createProduct,
  defined,
  missingId,
  protocols,
  readResourceInfo,
} from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

const NOT_FOUND = { code: "NotFound", reason: "CATEGORY_NOT_FOUND" };
const freshSlug = () => `c-${randomUUID()}`;

async function createCategory(parentId = "", name = "C"): Promise<Category> {
  const { category } = await shop.catalog.createCategory({ category: { slug: freshSlug(), name, parentId } });
  return defined(category);
}

/** Creates categories of which each is the parent of the next. */
async function createChain(length: number): Promise<Category[]> {
  const categories: Category[] = [];
  for (let at = 0; at < length; at += 1) categories.push(await createCategory(categories.at(-1)?.id));
  return categories;
}

describe.each(protocols)("over %s", (protocol) => {
  const catalog = () => clientsOf(shop, protocol).catalog;
  const get = async (id: string) =>
    (await catalog().getCategory({ key: { case: "id", value: id } })).category;
  const move = (id: string, parentId: string, etag = "") =>
    catalog().updateCategory({ category: { id, parentId, etag }, updateMask: { paths: ["parent_id"] } });

  test("a category is returned as it was created, by id and by slug", async () => {
    const parent = await createCategory();
    const slug = freshSlug();
    const { category } = await catalog().createCategory({
      category: {
        slug,
        name: "Möbel",
        parentId: parent.id.toUpperCase(),
        id: missingId,
        etag: "9",
        productCount: 9n,
      },
    });
    expect(category).toMatchObject({ slug, name: "Möbel", parentId: parent.id, productCount: 0n, etag: "1" });
    expect(category?.createTime).toEqual(category?.updateTime);
    const id = category?.id ?? "";
    expect(await get(id)).toEqual(category);
    expect(await get(id.toUpperCase())).toEqual(category);
    const bySlug = await catalog().getCategory({ key: { case: "slug", value: slug } });
    expect(bySlug.category).toEqual(category);
  });

  test("an unknown category fails with NOT_FOUND and is named in the error", async () => {
    const bySlug = () => catalog().getCategory({ key: { case: "slug", value: "no-such" } });
    expect(await failureOf(get(missingId))).toMatchObject(NOT_FOUND);
    expect(await failureOf(bySlug())).toMatchObject(NOT_FOUND);
    expect(await readResourceInfo(bySlug())).toEqual(["cartwright", "category", "no-such"]);
    expect(await failureOf(catalog().deleteCategory({ id: missingId }))).toMatchObject(NOT_FOUND);
    const category = { id: missingId, name: "x" };
    expect(await failureOf(catalog().updateCategory({ category }))).toMatchObject(NOT_FOUND);
    const orphan = { slug: freshSlug(), name: "x", parentId: missingId };
    expect(await failureOf(catalog().createCategory({ category: orphan }))).toMatchObject(NOT_FOUND);
  });

  test("a slug is unique, and free again after its category is deleted", async () => {
    const [one, other] = [await createCategory(), await createCategory()];
    const taken = { code: "AlreadyExists", reason: "SLUG_TAKEN" };
    const again = () => catalog().createCategory({ category: { slug: one.slug, name: "x" } });
    expect(await failureOf(again())).toMatchObject(taken);
    expect(await readResourceInfo(again())).toEqual(["cartwright", "category", one.slug]);
    const category = { id: other.id, slug: one.slug };
    expect(await failureOf(catalog().updateCategory({ category }))).toMatchObject(taken);
    await catalog().deleteCategory({ id: one.id });
    expect((await again()).category?.slug).toBe(one.slug);
  });

  test("an update changes only the fields of its mask, and an empty parent_id in the mask moves the category to the top", async () => {
    const [top, below] = await createChain(2);
    const id = below?.id ?? "";
    const category = { id: id.toUpperCase(), name: "New", slug: "not-in-the-mask" };
    const renamed = await catalog().updateCategory({ category, updateMask: { paths: ["name"] } });
    expect(renamed.category).toMatchObject({
      id,
      name: "New",
      slug: below?.slug,
      parentId: top?.id,
      etag: "2",
    });
    const moved = await move(id, "");
    expect(moved.category).toMatchObject({ name: "New", parentId: "", etag: "3" });
    expect(await get(id)).toEqual(moved.category);
  });

  test.each([
    ["without anything to change", {}, [], "INVALID_FIELD", ["update_mask"]],
    ["of an unknown path", { name: "x" }, ["title"], "INVALID_FIELD", ["update_mask"]],
    ["of an output-only count", { productCount: 3n }, ["product_count"], "INVALID_FIELD", ["update_mask"]],
    ["that empties the name", {}, ["name", "parent_id"], "FIELD_REQUIRED", ["category.name"]],
    ["that empties the slug", { name: "x" }, ["*"], "FIELD_REQUIRED", ["category.slug"]],
  ])("an update %s is rejected", async (_, values, paths, reason, fields) => {
    const { id } = await createCategory();
    const call = catalog().updateCategory({ category: { id, ...values }, updateMask: { paths } });
    expect(await failureOf(call)).toMatchObject({ code: "InvalidArgument", reason, fields });
  });

  test.each([
    ["slug", { slug: "Upper" }],
    ["slug", { slug: "-a" }],
    ["slug", { slug: "a--b" }],
    ["slug", { slug: "a".repeat(65) }],
    ["name", { name: "n".repeat(101) }],
    ["parent_id", { parentId: "x" }],
  ])("a category whose %s is out of bounds is rejected: %o", async (field, wrong) => {
    const call = catalog().createCategory({ category: { slug: freshSlug(), name: "x", ...wrong } });
    expect(await failureOf(call)).toMatchObject({ code: "InvalidArgument", fields: [`category.${field}`] });
  });

  test("one error names all required fields that are missing", async () => {
    const missing = { reason: "FIELD_REQUIRED", fields: ["category.slug", "category.name"] };
    expect(await failureOf(catalog().createCategory({ category: {} }))).toMatchObject(missing);
    expect(await failureOf(catalog().updateCategory({ category: { name: "x" } }))).toMatchObject({
      fields: ["category.id"],
    });
    expect(await failureOf(catalog().getCategory({}))).toMatchObject({ fields: ["key"] });
  });

  test("a stale etag is rejected, and the error has the current one", async () => {
    const { id } = await createCategory();
    await catalog().updateCategory({ category: { id, etag: "1", name: "Second" } });
    const stale = { code: "Aborted", reason: "STALE_ETAG", metadata: { current_etag: "2" } };
    const update = catalog().updateCategory({ category: { id, etag: "1", name: "x" } });
    expect(await failureOf(update)).toMatchObject(stale);
    expect(await failureOf(move(id, "", "1"))).toMatchObject(stale);
    expect(await failureOf(catalog().deleteCategory({ id, etag: "1" }))).toMatchObject(stale);
    await catalog().deleteCategory({ id: id.toUpperCase(), etag: "2" });
    expect(await failureOf(get(id))).toMatchObject(NOT_FOUND);
  });

  test("a category cannot become its own descendant, in upper or lower case of the ids", async () => {
    const ids = (await createChain(3)).map((category) => category.id);
    const [top = "", , bottom = ""] = ids;
    const circle = { code: "InvalidArgument", reason: "CATEGORY_CIRCLE", fields: ["category.parent_id"] };
    for (const below of ids) {
      for (const [id, parentId] of [
        [top, below],
        [top.toUpperCase(), below],
        [top, below.toUpperCase()],
      ] as const) {
        expect(await failureOf(move(id, parentId))).toMatchObject(circle);
      }
    }
    expect((await move(bottom, top)).category?.parentId).toBe(top);
  });

  test("the tree has at most 8 levels", async () => {
    const tooDeep = { code: "InvalidArgument", reason: "CATEGORY_TOO_DEEP", fields: ["category.parent_id"] };
    const deep = await createChain(8);
    const category = { slug: freshSlug(), name: "Ninth", parentId: deep.at(-1)?.id };
    expect(await failureOf(catalog().createCategory({ category }))).toMatchObject(tooDeep);
    const [short] = await createChain(3);
    expect(await failureOf(move(short?.id ?? "", deep[5]?.id ?? ""))).toMatchObject(tooDeep);
    expect((await move(short?.id ?? "", deep[4]?.id ?? "")).category?.parentId).toBe(deep[4]?.id);
  });

  test("a category is deleted only when it is empty, and deleted products count as content", async () => {
    const [top, below] = await createChain(2);
    const remove = (category: Category | undefined) => catalog().deleteCategory({ id: category?.id });
    const notEmpty = {
      code: "FailedPrecondition",
      reason: "CATEGORY_NOT_EMPTY",
      preconditions: ["NOT_EMPTY"],
    };
    expect(await failureOf(remove(top))).toMatchObject(notEmpty);
    const { id } = await createProduct(shop, below?.id ?? "");
    await createProduct(shop, below?.id ?? "");
    expect((await get(below?.id ?? ""))?.productCount).toBe(2n);
    await shop.catalog.deleteProduct({ id });
    expect((await get(below?.id ?? ""))?.productCount).toBe(1n);
    expect(await failureOf(remove(below))).toMatchObject(notEmpty);
    await shop.database.query("update product set category_id = $1 where category_id = $2", [
      (await createCategory()).id,
      below?.id,
    ]);
    await remove(below);
    await remove(top);
    expect(await failureOf(remove(top))).toMatchObject(NOT_FOUND);
  });

  test("the children of a category are listed page by page, sorted by name", async () => {
    const parent = await createCategory();
    const names = ["b", "a", "B", "ä", "b", "a-b", "\u{1f600}", "b"];
    const children: Category[] = [];
    for (const name of names) children.push(await createCategory(parent.id, name));
    await createCategory(children[0]?.id, "not a child");
    const sorted = children.toSorted(
      (one, other) =>
        Buffer.compare(Buffer.from(one.name), Buffer.from(other.name)) || (one.id < other.id ? -1 : 1),
    );
    for (const pageSize of [1, 3, 8]) {
      const found: Category[] = [];
      let pageToken = "";
      do {
        const page = await catalog().listCategories({
          parentId: parent.id.toUpperCase(),
          pageSize,
          pageToken,
        });
        found.push(...page.categories);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(found).toEqual(sorted);
    }
  });

  test("a page token of another list, a forged one and a page size out of bounds are rejected", async () => {
    const parent = await createCategory();
    for (const name of ["a", "b"]) await createCategory(parent.id, name);
    const { nextPageToken: pageToken } = await catalog().listCategories({ parentId: parent.id, pageSize: 1 });
    for (const wrong of [{ pageToken }, { pageToken: `${pageToken}x`, parentId: parent.id }]) {
      expect(await failureOf(catalog().listCategories(wrong))).toMatchObject({
        code: "InvalidArgument",
        reason: "PAGE_TOKEN_INVALID",
      });
    }
    for (const pageSize of [-1, 101]) {
      expect(await failureOf(catalog().listCategories({ pageSize }))).toMatchObject({
        fields: ["page_size"],
      });
    }
  });
});

test("every category is listed exactly once, 20 to a page", async () => {
  const [count] = await shop.database.query<{ count: number }>("select count(*)::int from category");
  const first = await shop.catalog.listCategories({});
  expect(first.categories).toHaveLength(20);
  const ids = new Set(first.categories.map(({ id }) => id));
  let pageToken = first.nextPageToken;
  while (pageToken !== "") {
    const page = await shop.catalog.listCategories({ pageToken });
    for (const { id } of page.categories) ids.add(id);
    pageToken = page.nextPageToken;
  }
  expect(ids.size).toBe(count?.count);
});

test("two concurrent moves cannot form a cycle", async () => {
  for (let round = 0; round < 10; round += 1) {
    const [one, other] = [await createCategory(), await createCategory()];
    const move = (id: string, parentId: string) =>
      shop.catalog.updateCategory({ category: { id, parentId } });
    const settled = await Promise.allSettled([move(one.id, other.id), move(other.id, one.id)]);
    expect(settled.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  }
});

test("of a concurrent delete of a category and creation of a product in it, exactly one succeeds", async () => {
  for (let round = 0; round < 10; round += 1) {
    const { id } = await createCategory();
    const calls = [createProduct(shop, id), shop.catalog.deleteCategory({ id })];
    const settled = await Promise.allSettled(calls);
    expect(settled.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const failed = settled.findIndex(({ status }) => status === "rejected");
    const failure = await failureOf(defined<Promise<unknown>>(calls[failed]));
    expect(failure.reason).toBe(failed === 0 ? "CATEGORY_NOT_FOUND" : "CATEGORY_NOT_EMPTY");
  }
});
