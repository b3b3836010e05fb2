import type { InferEntity } from "@mikro-orm/postgresql";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import { runMutation } from "../../infra/postgres/run-mutation.ts";
import type { Inventory } from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { AppError, notFound, staleEtag } from "../../kernel/errors.ts";
import { assertPresent, fieldsToUpdate, pick, type UpdatableFields } from "../../kernel/fields.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { Money } from "../../kernel/money.ts";
import { ensureBrands } from "../brand/brand.ts";
import { ProductEntity } from "./product.entity.ts";

/** A product as callers see it. */
export interface Product {
  id: string;
  sku: string;
  name: string;
  description: string;
  categoryId: string;
  brand: string;
  price: Money;
  stockQuantity: bigint;
  ratingAverage: number;
  ratingCount: bigint;
  purchaseCount: bigint;
  imageUri: string;
  attributes: Record<string, string>;
  etag: string;
  createTime: Date;
  updateTime: Date;
  deleteTime: Date | undefined;
}

/** What staff write of a product. */
export interface ProductInput {
  sku: string;
  name: string;
  description: string;
  categoryId: string;
  brand: string;
  price: Money | undefined;
  imageUri: string;
  attributes: Record<string, string>;
}

/** A change of a product: its new values, and how it is to be done. */
export interface ProductChange<Input> {
  product: Input;
  requestId: string;
  validateOnly: boolean;
}

const CHANGEABLE: UpdatableFields<keyof ProductInput> = {
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
  },
  required: new Set(["sku", "name", "category_id", "price"]),
};

type Row = InferEntity<typeof ProductEntity>;

/** The writes of products. Their stock is changed elsewhere, by orders and by hand. */
export function createProducts({
  db,
  ids,
  clock,
  inventory,
}: {
  db: Database;
  ids: Ids;
  clock: Clock;
  inventory: Inventory;
}) {
  return {
    /** A new product with the first row of its stock ledger. ALREADY_EXISTS when the sku is taken. */
    async create(
      call: Call,
      { product, ...how }: ProductChange<ProductInput & { stockQuantity: bigint }>,
    ): Promise<Product> {
      const { price, ...input } = product;
      assertPresent({
        "product.sku": input.sku,
        "product.name": input.name,
        "product.category_id": input.categoryId,
        "product.price": price,
      });
      const { result } = await runMutation(
        db,
        call,
        { ...how, method: "CreateProduct" },
        product,
        async (tx) => {
          const now = clock.now();
          await ensureBrands(tx, [input.brand], now);
          const row = tx.em.create(ProductEntity, {
            ...input,
            ...priceColumns(price),
            id: ids(),
            createdAt: now,
            updatedAt: now,
          });
          await flush(tx, row);
          if (input.stockQuantity > 0n) {
            const change = { productId: row.id, delta: input.stockQuantity };
            await inventory.record(tx, "INITIAL", [change], now);
          }
          tx.invalidate(...productTags(row), "catalog", "categories");
          return toProduct(row);
        },
      );
      return result;
    },

    /** Changes the fields of the mask; an empty mask stands for the fields that are not empty. */
    async update(
      call: Call,
      {
        product,
        mask,
        ...how
      }: ProductChange<ProductInput & { id: string; etag: string }> & { mask: string[] },
    ): Promise<Product> {
      assertPresent({ "product.id": product.id });
      const keys = fieldsToUpdate(CHANGEABLE, product, mask);
      const body = { product, mask };
      const { result } = await runMutation(
        db,
        call,
        { ...how, method: "UpdateProduct" },
        body,
        async (tx) => {
          const row = await find(tx, product.id);
          if (row.deletedAt) {
            throw new AppError("failed_precondition", `Product ${row.id} is deleted. Undelete it first.`, {
              reason: "PRODUCT_DELETED",
              preconditions: [
                {
                  type: "DELETED",
                  subject: `products/${row.id}`,
                  description: "undelete it before you change it",
                },
              ],
            });
          }
          assertCurrent(row, product.etag);
          const { price, ...values } = pick(product, keys);
          const now = clock.now();
          const before = pick(row, ["id", "sku", "categoryId"]);
          if (values.brand !== undefined) await ensureBrands(tx, [values.brand], now);
          tx.em.assign(row, { ...values, ...(price && priceColumns(price)), updatedAt: now });
          await flush(tx, row);
          tx.invalidate(...productTags(before), ...productTags(row), "catalog");
          if (row.categoryId !== before.categoryId) tx.invalidate("categories");
          return toProduct(row);
        },
      );
      return result;
    },

    /** Takes a product out of sale. NOT_FOUND when it is out already. */
    remove(call: Call, id: string, etag: string): Promise<Product> {
      return db.transact(call, async (tx) => {
        const row = await find(tx, id);
        if (row.deletedAt) throw notFound("product", id);
        assertCurrent(row, etag);
        const now = clock.now();
        tx.em.assign(row, { deletedAt: now, updatedAt: now });
        await flush(tx, row);
        tx.invalidate(...productTags(row), "catalog", "categories");
        return toProduct(row);
      });
    },

    /** Sells a deleted product again. ALREADY_EXISTS when it is not deleted. */
    restore(call: Call, id: string, etag: string): Promise<Product> {
      return db.transact(call, async (tx) => {
        const row = await find(tx, id);
        if (!row.deletedAt) {
          throw new AppError("already_exists", `Product ${id} is not deleted.`, {
            reason: "PRODUCT_NOT_DELETED",
            resource: { type: "product", name: id },
          });
        }
        assertCurrent(row, etag);
        tx.em.assign(row, { deletedAt: null, updatedAt: clock.now() });
        await flush(tx, row);
        tx.invalidate(...productTags(row), "catalog", "categories");
        return toProduct(row);
      });
    },
  };
}

async function find(tx: Tx, id: string): Promise<Row> {
  const row = await tx.em.findOne(ProductEntity, { id });
  if (row === null) throw notFound("product", id);
  return row;
}

/** Comes after what the state forbids: who repeats a delete learns that it is done, not that it is stale. */
function assertCurrent({ id, version }: Row, etag: string): void {
  if (etag !== "" && etag !== String(version)) throw staleEtag("product", id, String(version));
}

async function flush(tx: Tx, row: Row): Promise<void> {
  try {
    await tx.em.flush();
  } catch (error) {
    if (violatesConstraint(error, "product_sku_unique")) {
      throw new AppError(
        "already_exists",
        `A product with sku ${row.sku} exists, perhaps a deleted one. Take another sku, or undelete that one.`,
        { reason: "SKU_TAKEN", resource: { type: "product", name: row.sku } },
      );
    }
    if (violatesConstraint(error, "product_category_id_fk")) throw notFound("category", row.categoryId);
    throw error;
  }
}

function priceColumns(price: Money | undefined) {
  return { currency: price?.currencyCode ?? "", priceMinor: price?.minorUnits ?? 0n };
}

/** The cache tags of answers that show a product. */
export function productTags({ id, sku }: { id: string; sku: string }): string[] {
  return [`product:${id}`, `sku:${sku}`];
}

/** The product of a row. */
export function toProduct(row: Row): Product {
  return {
    ...pick(row, ["id", "sku", "name", "description", "categoryId", "brand", "stockQuantity", "imageUri"]),
    ...pick(row, ["attributes", "ratingAverage", "ratingCount", "purchaseCount"]),
    price: { currencyCode: row.currency, minorUnits: row.priceMinor },
    etag: String(row.version),
    createTime: row.createdAt,
    updateTime: row.updatedAt,
    deleteTime: row.deletedAt ?? undefined,
  };
}
