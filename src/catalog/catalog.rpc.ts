import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  CategorySchema,
  Product as ProductMessage,
  ProductSchema,
} from "../../gen/cartwright/catalog/v1/catalog_pb.ts";
import {
  type CatalogService,
  Facet as FacetMessage,
  TotalMode as TotalModeMessage,
} from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Catalog } from "./catalog.ts";
import type { Category } from "./category/category-row.ts";
import { importRpc, type RowCheck } from "./import/import.rpc.ts";
import type { TotalMode } from "./product/product-count.ts";
import type { Facet } from "./product/product-facets.ts";
import type { ProductView } from "./product/product-row.ts";
import type { ProductInput } from "./product/product-writes.ts";
import { fromAdjustment, stockRpc } from "./stock/stock.rpc.ts";
import { toTimeBound } from "./time-bound.rpc.ts";

const TOTALS = new Map<TotalModeMessage, TotalMode>([
  [TotalModeMessage.ESTIMATED, "ESTIMATED"],
  [TotalModeMessage.EXACT, "EXACT"],
]);

const FACETS = new Map<FacetMessage, Facet>([
  [FacetMessage.BRAND, "BRAND"],
  [FacetMessage.CATEGORY, "CATEGORY"],
  [FacetMessage.PRICE, "PRICE"],
]);

/**
 * Creates the handlers of CatalogService, which convert messages. Ids become lower case, as PostgreSQL writes UUIDs.
 * @param getCall returns the call of a handler
 * @param checkRow returns the rules of the contract that an import row violates
 */
export function catalogRpc(catalog: Catalog, getCall: (context: HandlerContext) => Call, checkRow: RowCheck) {
  const { products, categories } = catalog;
  return {
    ...importRpc(catalog, getCall, checkRow),
    ...stockRpc(catalog, getCall),

    async getProduct({ key, showDeleted, readMask }, context) {
      const { case: column = "id", value = "" } = key;
      const options = { showDeleted, readMask: readMask?.paths ?? [] };
      return { product: toProductMessage(await products.get(getCall(context), { column, value }, options)) };
    },

    async batchGetProducts({ ids, readMask }, context) {
      const found = await products.batchGet(getCall(context), ids, readMask?.paths ?? []);
      return { products: found.map(toProductMessage) };
    },

    async listProducts({ total, facets, readMask, categoryId, minPrice, maxPrice, ...request }, context) {
      const page = await products.list(getCall(context), {
        ...request,
        categoryId: categoryId.toLowerCase(),
        minPrice,
        maxPrice,
        minCreateTime: toTimeBound(request.minCreateTime),
        maxCreateTime: toTimeBound(request.maxCreateTime),
        readMask: readMask?.paths ?? [],
        total: TOTALS.get(total) ?? "NONE",
        facets: facets.flatMap((facet) => FACETS.get(facet) ?? []),
      });
      return {
        products: page.items.map(toProductMessage),
        nextPageToken: page.nextPageToken,
        totalSize: page.totalSize,
        facets: page.facets,
        correctedQuery: page.correctedQuery,
      };
    },

    async createProduct({ product, requestId, validateOnly }, context) {
      const creation = { product: fromProduct(product), requestId, validateOnly };
      return { product: toProductMessage(await products.create(getCall(context), creation)) };
    },

    async updateProduct({ product, updateMask, requestId, validateOnly }, context) {
      const update = {
        product: fromProduct(product),
        mask: updateMask?.paths ?? [],
        requestId,
        validateOnly,
      };
      return { product: toProductMessage(await products.update(getCall(context), update)) };
    },

    async deleteProduct({ id, etag }, context) {
      return { product: toProductMessage(await products.delete(getCall(context), id, etag)) };
    },

    async undeleteProduct({ id, etag }, context) {
      return { product: toProductMessage(await products.undelete(getCall(context), id, etag)) };
    },

    async adjustStock(request, context) {
      const adjustment = { ...fromAdjustment(request), requestId: request.requestId };
      const product = await catalog.adjustStock(getCall(context), adjustment);
      return { product: toProductMessage(product), onHandQuantity: product.onHandQuantity };
    },

    async getCategory({ key }, context) {
      const categoryKey = key.case === "slug" ? { slug: key.value } : { id: key.value ?? "" };
      return { category: toCategoryMessage(await categories.get(getCall(context), categoryKey)) };
    },

    async listCategories({ parentId, ...request }, context) {
      const page = await categories.list(getCall(context), { ...request, parentId: parentId.toLowerCase() });
      return { categories: page.items.map(toCategoryMessage), nextPageToken: page.nextPageToken };
    },

    async createCategory({ category, requestId, validateOnly }, context) {
      const { slug = "", name = "", parentId = "" } = category ?? {};
      const input = { slug, name, parentId: parentId.toLowerCase() };
      const creation = { category: input, requestId, validateOnly };
      return { category: toCategoryMessage(await categories.create(getCall(context), creation)) };
    },

    async updateCategory({ category, updateMask, requestId, validateOnly }, context) {
      const { id = "", etag = "", slug = "", name = "", parentId = "" } = category ?? {};
      const update = {
        category: { id: id.toLowerCase(), etag, slug, name, parentId: parentId.toLowerCase() },
        mask: updateMask?.paths ?? [],
        requestId,
        validateOnly,
      };
      return { category: toCategoryMessage(await categories.update(getCall(context), update)) };
    },

    async deleteCategory({ id, etag }, context) {
      await categories.delete(getCall(context), id, etag);
      return {};
    },

    async listBrands(request, context) {
      const page = await catalog.listBrands(getCall(context), request);
      return { brands: page.items, nextPageToken: page.nextPageToken };
    },

    async getCatalogStats({ lowStockThreshold }, context) {
      const { asOfTime, ...stats } = await catalog.getStats(getCall(context), lowStockThreshold);
      return { stats: { ...stats, asOfTime: timestampFromDate(asOfTime) } };
    },
  } satisfies ServiceImpl<typeof CatalogService>;
}

function fromProduct(
  product: ProductMessage | undefined,
): ProductInput & { id: string; etag: string; stockQuantity: bigint } {
  return {
    id: product?.id.toLowerCase() ?? "",
    etag: product?.etag ?? "",
    sku: product?.sku ?? "",
    name: product?.name ?? "",
    description: product?.description ?? "",
    categoryId: product?.categoryId.toLowerCase() ?? "",
    brand: product?.brand ?? "",
    price: product?.price && {
      currencyCode: product.price.currencyCode,
      minorUnits: product.price.minorUnits,
    },
    stockQuantity: product?.stockQuantity ?? 0n,
    imageUri: product?.imageUri ?? "",
    attributes: product?.attributes ?? {},
    taxClass: product?.taxClass ?? "",
    weightGrams: product?.weightGrams || undefined,
  };
}

function toProductMessage(product: ProductView): MessageInitShape<typeof ProductSchema> {
  return {
    ...product,
    createTime: product.createTime && timestampFromDate(product.createTime),
    updateTime: product.updateTime && timestampFromDate(product.updateTime),
    deleteTime: product.deleteTime && timestampFromDate(product.deleteTime),
  };
}

function toCategoryMessage(category: Category): MessageInitShape<typeof CategorySchema> {
  return {
    ...category,
    createTime: timestampFromDate(category.createTime),
    updateTime: timestampFromDate(category.updateTime),
  };
}
