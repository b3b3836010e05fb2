import type { InferEntity } from "@mikro-orm/postgresql";
import { sql } from "kysely";
import { type Database, prepared, type Tx } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import { runMutation } from "../../infra/postgres/run-mutation.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError, invalidField, notFound, staleEtag } from "../../kernel/errors.ts";
import { assertPresent, fieldsToUpdate, pick, type UpdatableFields } from "../../kernel/fields.ts";
import type { Ids } from "../../kernel/ids.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";
import { CategoryEntity } from "./category.entity.ts";

/** A place in the tree of categories. */
export interface Category {
  id: string;
  slug: string;
  name: string;
  /** Empty at the top. */
  parentId: string;
  productCount: bigint;
  etag: string;
  createTime: Date;
  updateTime: Date;
}

/** What staff write of a category. */
export interface CategoryInput {
  slug: string;
  name: string;
  parentId: string;
}

/** A change of a category: its new values, and how it is to be done. */
export interface CategoryChange<Input> {
  category: Input;
  requestId: string;
  validateOnly: boolean;
}

const CHANGEABLE: UpdatableFields<keyof CategoryInput> = {
  resource: "category",
  fields: { slug: "slug", name: "name", parent_id: "parentId" },
  required: new Set(["slug", "name"]),
};

/** How deep the tree may be. */
const MAX_DEPTH = 8;
/** Moves of categories are serialized by this advisory lock, so that two of them cannot close a circle. */
const TREE_LOCK = 0x74726565;

type Entity = InferEntity<typeof CategoryEntity>;

interface Row {
  id: string;
  slug: string;
  name: string;
  parent_id: string | null;
  version: number;
  created_at: string;
  updated_at: string;
  product_count: string;
}

// The rows first, then their counts: what has changed lately is read once for all of them, not once for each.
const ROWS = "with page as materialized (select * from category";
const COUNTED = `), changed as (
    select category_id, sum(product_count) as product_count from product_count_delta
    where category_id in (select id from page) group by category_id
  )
  select page.*, coalesce(changed.product_count, 0)
    + coalesce((select sum(product_count) from product_count where category_id = page.id), 0) as product_count
  from page left join changed on category_id = page.id order by name, page.id`;
const select = (rows: string) => prepared(`${ROWS} ${rows} ${COUNTED}`);
const PAGE = "($1::text is null or (name, id) > ($1, $2::uuid)) order by name, id limit $3";
const BY_ID = select("where id = $1");
const BY_SLUG = select("where slug = $1");
const LIST = select(`where ${PAGE}`);
const CHILDREN = select(`where parent_id = $4 and ${PAGE}`);

/** The categories: a small tree that staff keep. */
export function createCategories({
  db,
  ids,
  clock,
  tokens,
}: {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
}) {
  return {
    async get(call: Call, key: { id: string } | { slug: string }): Promise<Category> {
      const [row] =
        "id" in key
          ? await db.read<Row>(call, BY_ID, [key.id])
          : await db.read<Row>(call, BY_SLUG, [key.slug]);
      if (row === undefined) throw notFound("category", "id" in key ? key.id : key.slug);
      return fromRow(row);
    },

    /** Categories by name: all, or those directly below one. */
    async list(
      call: Call,
      { parentId, ...page }: PageRequest & { parentId: string },
    ): Promise<Page<Category>> {
      const query = { list: "categories", parentId };
      const size = resolvePageSize(page.pageSize);
      const [name = null, id = null] = tokens.readCursor(page.pageToken, query) ?? [];
      const rows =
        parentId === ""
          ? await db.read<Row>(call, LIST, [name, id, size + 1])
          : await db.read<Row>(call, CHILDREN, [name, id, size + 1, parentId]);
      return tokens.createPage(rows, size, query, (row) => [row.name, row.id], fromRow);
    },

    /** A new category. ALREADY_EXISTS when the slug is taken. */
    async create(call: Call, { category, ...how }: CategoryChange<CategoryInput>): Promise<Category> {
      assertPresent({ "category.slug": category.slug, "category.name": category.name });
      const { result } = await runMutation(
        db,
        call,
        { ...how, method: "CreateCategory" },
        category,
        async (tx) => {
          const now = clock.now();
          const { parentId, ...input } = category;
          const id = ids();
          await assertTree(tx, id, parentId);
          const entity = tx.em.create(CategoryEntity, {
            ...input,
            id,
            parentId: parentId || null,
            createdAt: now,
            updatedAt: now,
          });
          await flush(tx, entity);
          tx.invalidate("categories");
          return fromEntity(tx, entity);
        },
      );
      return result;
    },

    /** Changes the fields of the mask; an empty mask stands for the fields that are not empty. */
    async update(
      call: Call,
      {
        category,
        mask,
        ...how
      }: CategoryChange<CategoryInput & { id: string; etag: string }> & { mask: string[] },
    ): Promise<Category> {
      assertPresent({ "category.id": category.id });
      const keys = fieldsToUpdate(CHANGEABLE, category, mask);
      const body = { category, mask };
      const { result } = await runMutation(
        db,
        call,
        { ...how, method: "UpdateCategory" },
        body,
        async (tx) => {
          const { parentId, ...values } = pick(category, keys);
          if (parentId !== undefined) await assertTree(tx, category.id, parentId);
          const entity = await find(tx, category.id, category.etag);
          const moved = parentId === undefined ? {} : { parentId: parentId || null };
          tx.em.assign(entity, { ...values, ...moved, updatedAt: clock.now() });
          await flush(tx, entity);
          // Lists of products go by the tree.
          tx.invalidate("categories", "catalog");
          return fromEntity(tx, entity);
        },
      );
      return result;
    },

    /** Removes an empty category. FAILED_PRECONDITION while something is in it or below it. */
    remove(call: Call, id: string, etag: string): Promise<void> {
      return db.transact(call, async (tx) => {
        const entity = await find(tx, id, etag);
        await removeEmpty(tx, entity);
        tx.invalidate("categories");
      });
    },
  };
}

async function find(tx: Tx, id: string, etag: string): Promise<Entity> {
  const entity = await tx.em.findOne(CategoryEntity, { id });
  if (entity === null) throw notFound("category", id);
  if (etag !== "" && etag !== String(entity.version)) throw staleEtag("category", id, String(entity.version));
  return entity;
}

/** Checks that a category can hang below `parentId`: the parent exists, is not below it, and is not too deep. */
async function assertTree(tx: Tx, id: string, parentId: string): Promise<void> {
  if (parentId === "") return;
  await tx.query(sql`select pg_advisory_xact_lock(${TREE_LOCK})`);
  const above = await tx.query(sql<{ id: string }>`
    with recursive above as (
      select id, parent_id, 1 as depth from category where id = ${parentId}
      union all
      select category.id, category.parent_id, depth + 1 from category join above on category.id = above.parent_id
      where depth < ${MAX_DEPTH}
    ) select id from above`);
  const [below] = await tx.query(sql<{ depth: number }>`
    with recursive below as (
      select id, 1 as depth from category where id = ${id}
      union all
      select category.id, depth + 1 from category join below on category.parent_id = below.id where depth < ${MAX_DEPTH}
    ) select max(depth) as depth from below`);
  if (above.length === 0) throw notFound("category", parentId);
  if (above.some((row) => row.id === id)) {
    throw invalidField(
      "category.parent_id",
      "must not be the category itself or one below it",
      "CATEGORY_CIRCLE",
    );
  }
  if (above.length + (below?.depth ?? 1) > MAX_DEPTH) {
    throw invalidField(
      "category.parent_id",
      `would make the tree deeper than ${MAX_DEPTH} levels`,
      "CATEGORY_TOO_DEEP",
    );
  }
}

async function flush(tx: Tx, entity: Entity): Promise<void> {
  try {
    await tx.em.flush();
  } catch (error) {
    if (violatesConstraint(error, "category_slug_unique")) {
      throw new AppError("already_exists", `A category with slug ${entity.slug} exists. Take another slug.`, {
        reason: "SLUG_TAKEN",
        resource: { type: "category", name: entity.slug },
      });
    }
    // The parent was there when it was looked at, and has been deleted since.
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
    const description = "products or categories are in it; move or delete them first";
    throw new AppError(
      "failed_precondition",
      `Category ${entity.id} is not empty: ${description}. Deleted products count.`,
      {
        reason: "CATEGORY_NOT_EMPTY",
        preconditions: [{ type: "NOT_EMPTY", subject: `categories/${entity.id}`, description }],
      },
    );
  }
}

async function fromEntity(tx: Tx, entity: Entity): Promise<Category> {
  const [row] = await tx.query(sql<Row>`${sql.raw(ROWS)} where id = ${entity.id} ${sql.raw(COUNTED)}`);
  if (row === undefined) throw notFound("category", entity.id);
  return fromRow(row);
}

function fromRow(row: Row): Category {
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    parentId: row.parent_id ?? "",
    productCount: BigInt(row.product_count),
    etag: String(row.version),
    createTime: new Date(row.created_at),
    updateTime: new Date(row.updated_at),
  };
}
