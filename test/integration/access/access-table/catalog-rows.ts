import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { StockReason } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { ImportMode, ImportProductsRequestSchema } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { createHeader, createRows } from "../../../support/import/import-rows.ts";
import { makeCategory, makeProduct } from "../../../support/shop-fixtures.ts";
import { type AccessRow, ALL, accessRow, type Fixtures, staffRow, withoutSetup } from "./access-row.ts";

const newName = () => `c-${randomUUID().slice(0, 8)}`;

async function createDeletedProduct({ admin }: Fixtures): Promise<string> {
  const id = await makeProduct(admin, { stock: 1n });
  await admin.catalog.deleteProduct({ id });
  return id;
}

/** The methods of CatalogService. */
export const catalogRows: Readonly<Record<string, AccessRow>> = {
  "CatalogService/GetProduct": accessRow(ALL, async ({ admin }) => {
    const id = await makeProduct(admin, { stock: 1n });
    return ({ catalog }) => catalog.getProduct({ key: { case: "id", value: id } });
  }),
  "CatalogService/GetProduct show_deleted": staffRow(Scope.CATALOG_WRITE, async (fixtures) => {
    const id = await createDeletedProduct(fixtures);
    return ({ catalog }) => catalog.getProduct({ key: { case: "id", value: id }, showDeleted: true });
  }),
  "CatalogService/BatchGetProducts": accessRow(ALL, async ({ admin }) => {
    const ids = [await makeProduct(admin, { stock: 1n })];
    return ({ catalog }) => catalog.batchGetProducts({ ids });
  }),
  "CatalogService/ListProducts": accessRow(
    ALL,
    withoutSetup(({ catalog }) => catalog.listProducts({})),
  ),
  "CatalogService/ListProducts show_deleted": staffRow(
    Scope.CATALOG_WRITE,
    withoutSetup(({ catalog }) => catalog.listProducts({ showDeleted: true })),
  ),
  "CatalogService/CreateProduct": staffRow(Scope.CATALOG_WRITE, async ({ admin }) => {
    const categoryId = await makeCategory(admin);
    const price = { currencyCode: "EUR", minorUnits: 1n };
    return ({ catalog }) =>
      catalog.createProduct({ product: { sku: newName(), name: "Tea", categoryId, price } });
  }),
  "CatalogService/UpdateProduct": staffRow(Scope.CATALOG_WRITE, async ({ admin }) => {
    const id = await makeProduct(admin, { stock: 1n });
    return ({ catalog }) => catalog.updateProduct({ product: { id, name: "Tea" } });
  }),
  "CatalogService/DeleteProduct": staffRow(Scope.CATALOG_WRITE, async ({ admin }) => {
    const id = await makeProduct(admin, { stock: 1n });
    return ({ catalog }) => catalog.deleteProduct({ id });
  }),
  "CatalogService/UndeleteProduct": staffRow(Scope.CATALOG_WRITE, async (fixtures) => {
    const id = await createDeletedProduct(fixtures);
    return ({ catalog }) => catalog.undeleteProduct({ id });
  }),
  "CatalogService/AdjustStock": staffRow(Scope.CATALOG_WRITE, async ({ admin }) => {
    const productId = await makeProduct(admin, { stock: 1n });
    return ({ catalog }) => catalog.adjustStock({ productId, delta: 1n, reason: StockReason.RECEIVED });
  }),
  "CatalogService/BatchAdjustStock": staffRow(Scope.CATALOG_WRITE, async ({ admin }) => {
    const productId = await makeProduct(admin, { stock: 1n });
    const adjustments = [{ productId, delta: 1n, reason: StockReason.RECEIVED }];
    return ({ catalog }) => catalog.batchAdjustStock({ adjustments, requestId: randomUUID() });
  }),
  "CatalogService/ListStockMovements": staffRow(
    Scope.CATALOG_WRITE,
    withoutSetup(({ catalog }) => catalog.listStockMovements({})),
  ),
  "CatalogService/ImportProducts": staffRow(Scope.CATALOG_WRITE, async ({ admin }) => {
    const slug = newName();
    await admin.catalog.createCategory({ category: { slug, name: slug } });
    const message = { ...createHeader(ImportMode.INCREMENTAL), rows: createRows(slug, `${slug}-`, 1) };
    return ({ catalog }) =>
      catalog.importProducts(
        (async function* () {
          yield create(ImportProductsRequestSchema, message);
        })(),
      );
  }),
  "CatalogService/GetCategory": accessRow(ALL, async ({ admin }) => {
    const id = await makeCategory(admin);
    return ({ catalog }) => catalog.getCategory({ key: { case: "id", value: id } });
  }),
  "CatalogService/ListCategories": accessRow(
    ALL,
    withoutSetup(({ catalog }) => catalog.listCategories({})),
  ),
  "CatalogService/CreateCategory": staffRow(
    Scope.CATALOG_WRITE,
    withoutSetup(({ catalog }) => catalog.createCategory({ category: { slug: newName(), name: "Tea" } })),
  ),
  "CatalogService/UpdateCategory": staffRow(Scope.CATALOG_WRITE, async ({ admin }) => {
    const id = await makeCategory(admin);
    return ({ catalog }) => catalog.updateCategory({ category: { id, name: "Tea" } });
  }),
  "CatalogService/DeleteCategory": staffRow(Scope.CATALOG_WRITE, async ({ admin }) => {
    const id = await makeCategory(admin);
    return ({ catalog }) => catalog.deleteCategory({ id });
  }),
  "CatalogService/ListBrands": accessRow(
    ALL,
    withoutSetup(({ catalog }) => catalog.listBrands({})),
  ),
  "CatalogService/GetCatalogStats": accessRow(
    ALL,
    withoutSetup(({ catalog }) => catalog.getCatalogStats({})),
  ),
};
