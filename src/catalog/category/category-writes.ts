import type { InferEntity } from "@mikro-orm/postgresql";
import { sql } from "kysely";
import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError, assertEtag, notFound } from "../../kernel/errors.ts";
import { assertPresent, fieldsToUpdate, pick, type UpdatableFields } from "../../kernel/fields.ts";
import type { Ids } from "../../kernel/ids.ts";
import { CategoryEntity } from "./category.entity.ts";
import { type Category, categoryFromRow, selectCategories } from "./category-row.ts";
import { assertParent } from "./category-tree.ts";

/** The fields of a category that staff write. */
export interface CategoryInput {
  slug: string;
  name: string;
  /** Empty for the top level. */
  parentId: string;
}

/** A request to create a category. */
export interface CategoryCreation {
  category: CategoryInput;
  /** Empty for none. */
  requestId: string;
  validateOnly: boolean;
}

/** A request to update a category. */
export interface CategoryUpdate {
  /** The category to change and its new values. An empty etag matches any version. */
  category: CategoryInput & { id: string; etag: string };
  /** Contract names of the fields to change; empty for the fields that are not empty, "*" for all. */
  mask: string[];
  /** Empty for none. */
  requestId: string;
  validateOnly: boolean;
}

/** Dependencies of writes of categories. */
export interface CategoryWritesOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
}

const UPDATABLE: UpdatableFields<keyof CategoryInput> = {
  resource: "category",
  fields: { slug: "slug", name: "name", parent_id: "parentId" },
  required: new Set(["slug", "name"]),
};

type Entity = InferEntity<typeof CategoryEntity>;

/** Creates a category. See `Categories.create`. */
export async function createCategory(
  { db, ids, clock }: CategoryWritesOptions,
  call: Call,
  { category, ...options }: CategoryCreation,
): Promise<Category> {
  assertPresent({ "category.slug": category.slug, "category.name": category.name });
  const mutation = { ...options, method: "CreateCategory" };
  const { result } = await runMutation(db, call, mutation, category, async (tx) => {
    const now = clock.now();
    const { parentId, ...input } = category;
    const id = ids();
    await assertParent(tx, id, parentId);
    const entity = tx.em.create(CategoryEntity, {
      ...input,
      id,
      parentId: parentId || null,
      createdAt: now,
      updatedAt: now,
    });
    await flush(tx, entity);
    // NOT_FOUND may be cached for lists of products by its slug.
    tx.invalidate("categories", "catalog");
    return readCategory(tx, id);
  });
  return result;
}

/** Changes fields of a category. See `Categories.update`. */
export async function updateCategory(
  { db, clock }: CategoryWritesOptions,
  call: Call,
  { category, mask, ...options }: CategoryUpdate,
): Promise<Category> {
  assertPresent({ "category.id": category.id });
  const keys = fieldsToUpdate(UPDATABLE, category, mask);
  const mutation = { ...options, method: "UpdateCategory" };
  const { result } = await runMutation(db, call, mutation, { category, mask }, async (tx) => {
    const { parentId, ...values } = pick(category, keys);
    if (parentId !== undefined) await assertParent(tx, category.id, parentId);
    const entity = await find(tx, category.id, category.etag);
    const parent = parentId === undefined ? {} : { parentId: parentId || null };
    tx.em.assign(entity, { ...values, ...parent, updatedAt: clock.now() });
    await flush(tx, entity);
    // Lists of products include those of descendants.
    tx.invalidate("categories", "catalog");
    return readCategory(tx, entity.id);
  });
  return result;
}

/** Deletes an empty category. See `Categories.delete`. */
export function deleteCategory(
  { db }: CategoryWritesOptions,
  call: Call,
  id: string,
  etag: string,
): Promise<void> {
  return db.transact(call, async (tx) => {
    const entity = await find(tx, id, etag);
    await removeEmpty(tx, entity);
    // Lists of products by its slug are NOT_FOUND from now on.
    tx.invalidate("categories", "catalog");
  });
}

async function find(tx: Tx, id: string, etag: string): Promise<Entity> {
  const entity = await tx.em.findOne(CategoryEntity, { id });
  if (entity === null) throw notFound("category", id);
  assertEtag("category", { id, etag: String(entity.version) }, etag);
  return entity;
}

async function readCategory(tx: Tx, id: string): Promise<Category> {
  const [row] = await tx.query(selectCategories(sql`where id = ${id}`));
  if (row === undefined) throw notFound("category", id);
  return categoryFromRow(row);
}

async function flush(tx: Tx, entity: Entity): Promise<void> {
  try {
    await tx.em.flush();
  } catch (error) {
    if (violatesConstraint(error, "category_slug_unique")) {
      throw new AppError("already_exists", `A category with slug ${entity.slug} exists. Use another slug.`, {
        reason: "SLUG_TAKEN",
        resource: { type: "category", name: entity.slug },
      });
    }
    // The parent was deleted after the check.
    if (violatesConstraint(error, "category_parent_id_fk")) throw notFound("category", entity.parentId ?? "");
    throw error;
  }
}

async function removeEmpty(tx: Tx, entity: Entity): Promise<void> {
  try {
    await tx.em.remove(entity).flush();
  } catch (error) {
    const used = ["product_category_id_fk", "category_parent_id_fk"].some((name) =>
      violatesConstraint(error, name),
    );
    if (!used) throw error;
    const description = "it has products or child categories; move or delete them first";
    throw new AppError(
      "failed_precondition",
      `Category ${entity.id} is not empty: ${description}. Deleted products count too.`,
      {
        reason: "CATEGORY_NOT_EMPTY",
        preconditions: [{ type: "NOT_EMPTY", subject: `categories/${entity.id}`, description }],
      },
    );
  }
}
