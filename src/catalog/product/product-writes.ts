import type { InferEntity } from "@mikro-orm/postgresql";
import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import type { Inventory } from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError, assertEtag, notFound } from "../../kernel/errors.ts";
import { assertPresent, fieldsToUpdate, pick, type UpdatableFields } from "../../kernel/fields.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { Money } from "../../kernel/money.ts";
import { ensureBrands } from "../brand/brand.ts";
import { ProductEntity } from "./product.entity.ts";
import { type Product, productTags, readProduct } from "./product-row.ts";

/** The fields of a product that staff write. */
export interface ProductInput {
  sku: string;
  name: string;
  description: string;
  categoryId: string;
  brand: string;
  price: Money | undefined;
  imageUri: string;
  attributes: Record<string, string>;
  taxClass: string;
  /** Undefined for 0: requests without a weight keep the fingerprint that earlier versions have stored. */
  weightGrams: bigint | undefined;
}

/** A request to create a product. */
export interface ProductCreation {
  product: ProductInput & { stockQuantity: bigint };
  /** Empty for none. */
  requestId: string;
  validateOnly: boolean;
}

/** A request to update a product. */
export interface ProductUpdate {
  /** The product to change and its new values. An empty etag matches any version. */
  product: ProductInput & { id: string; etag: string };
  /** Contract names of the fields to change; empty for the fields that are not empty, "*" for all. */
  mask: string[];
  /** Empty for none. */
  requestId: string;
  validateOnly: boolean;
}

/** Dependencies of writes of products. */
export interface ProductWritesOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  inventory: Inventory;
}

const UPDATABLE: UpdatableFields<keyof ProductInput> = {
  resource: "product",
  fields: {
    sku: "sku",
    name: "name",
    description: "description",
    category_id: "categoryId",
    brand: "brand",
    price: "price",
    image_uri: "imageUri",
    attributes: "attributes",
    tax_class: "taxClass",
    weight_grams: "weightGrams",
  },
  required: new Set(["sku", "name", "category_id", "price"]),
};

type Entity = InferEntity<typeof ProductEntity>;

/** Creates a product and the first row of its stock ledger. See `Products.create`. */
export async function createProduct(
  { db, ids, clock, inventory }: ProductWritesOptions,
  call: Call,
  { product, ...options }: ProductCreation,
): Promise<Product> {
  const { price, ...input } = product;
  assertPresent({
    "product.sku": input.sku,
    "product.name": input.name,
    "product.category_id": input.categoryId,
    "product.price": price,
  });
  const { stockQuantity, ...fields } = input;
  const mutation = { ...options, method: "CreateProduct" };
  const { result } = await runMutation(db, call, mutation, product, async (tx) => {
    const now = clock.now();
    await ensureBrands(tx, [input.brand], now);
    const entity = tx.em.create(ProductEntity, {
      ...fields,
      ...priceColumns(price),
      weightGrams: fields.weightGrams ?? 0n,
      id: ids(),
      inStock: stockQuantity > 0n,
      createdAt: now,
      updatedAt: now,
    });
    await flush(tx, entity);
    await inventory.create(tx, [{ productId: entity.id, quantity: stockQuantity }], now);
    tx.invalidate(...productTags(entity), "catalog", "categories");
    return readProduct(tx, entity.id);
  });
  return result;
}

/** Changes fields of a product. See `Products.update`. */
export async function updateProduct(
  { db, clock }: ProductWritesOptions,
  call: Call,
  { product, mask, ...options }: ProductUpdate,
): Promise<Product> {
  assertPresent({ "product.id": product.id });
  const keys = fieldsToUpdate(UPDATABLE, product, mask);
  const mutation = { ...options, method: "UpdateProduct" };
  const { result } = await runMutation(db, call, mutation, { product, mask }, async (tx) => {
    const entity = await find(tx, product.id);
    if (entity.deletedAt) throw productDeleted(entity.id);
    assertCurrent(entity, product.etag);
    const { price, ...values } = pick({ ...product, weightGrams: product.weightGrams ?? 0n }, keys);
    const now = clock.now();
    const before = pick(entity, ["id", "sku", "categoryId"]);
    if (values.brand !== undefined) await ensureBrands(tx, [values.brand], now);
    tx.em.assign(entity, { ...values, ...(price && priceColumns(price)), updatedAt: now });
    await flush(tx, entity);
    tx.invalidate(...productTags(before), ...productTags(entity), "catalog");
    if (entity.categoryId !== before.categoryId) tx.invalidate("categories");
    return readProduct(tx, entity.id);
  });
  return result;
}

/** Deletes a product softly. See `Products.delete`. */
export function deleteProduct(
  { db, clock }: ProductWritesOptions,
  call: Call,
  id: string,
  etag: string,
): Promise<Product> {
  return db.transact(call, async (tx) => {
    const entity = await find(tx, id);
    if (entity.deletedAt) throw notFound("product", id);
    assertCurrent(entity, etag);
    const now = clock.now();
    return setDeleted(tx, entity, now, now);
  });
}

/** Reverts a soft deletion. See `Products.undelete`. */
export function undeleteProduct(
  { db, clock }: ProductWritesOptions,
  call: Call,
  id: string,
  etag: string,
): Promise<Product> {
  return db.transact(call, async (tx) => {
    const entity = await find(tx, id);
    if (!entity.deletedAt) {
      throw new AppError("already_exists", `Product ${id} is not deleted.`, {
        reason: "PRODUCT_NOT_DELETED",
        resource: { type: "product", name: id },
      });
    }
    assertCurrent(entity, etag);
    return setDeleted(tx, entity, null, clock.now());
  });
}

async function setDeleted(tx: Tx, entity: Entity, deletedAt: Date | null, now: Date): Promise<Product> {
  tx.em.assign(entity, { deletedAt, updatedAt: now });
  await flush(tx, entity);
  tx.invalidate(...productTags(entity), "catalog", "categories");
  return readProduct(tx, entity.id);
}

async function find(tx: Tx, id: string): Promise<Entity> {
  const entity = await tx.em.findOne(ProductEntity, { id });
  if (entity === null) throw notFound("product", id);
  return entity;
}

/** Checks an etag, after the state: a repeated delete fails with not_found instead of a stale etag. */
function assertCurrent({ id, version }: Entity, etag: string): void {
  assertEtag("product", { id, etag: String(version) }, etag);
}

function productDeleted(id: string): AppError {
  const description = "undelete it before you change it";
  return new AppError("failed_precondition", `Product ${id} is deleted. Undelete it first.`, {
    reason: "PRODUCT_DELETED",
    preconditions: [{ type: "DELETED", subject: `products/${id}`, description }],
  });
}

async function flush(tx: Tx, entity: Entity): Promise<void> {
  try {
    await tx.em.flush();
  } catch (error) {
    if (violatesConstraint(error, "product_sku_unique")) {
      throw new AppError(
        "already_exists",
        `A product with sku ${entity.sku} exists, possibly a deleted one. Use another sku, or undelete that product.`,
        { reason: "SKU_TAKEN", resource: { type: "product", name: entity.sku } },
      );
    }
    if (violatesConstraint(error, "product_category_id_fk")) throw notFound("category", entity.categoryId);
    throw error;
  }
}

function priceColumns(price: Money | undefined): { currency: string; priceMinor: bigint } {
  return { currency: price?.currencyCode ?? "", priceMinor: price?.minorUnits ?? 0n };
}
