import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type CategorySchema,
  type Product as ProductMessage,
  type ProductSchema,
  StockReason as StockReasonMessage,
} from "../../gen/cartwright/catalog/v1/catalog_pb.ts";
import {
  type CatalogService,
  Facet as FacetMessage,
  TotalMode as TotalModeMessage,
} from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import type { StockReason } from "../inventory/inventory.ts";
import type { Call } from "../kernel/call.ts";
import type { Catalog } from "./catalog.ts";
import type { Category } from "./category/category.ts";
import { importRpc, type RowCheck } from "./import/import.rpc.ts";
import type { ProductInput } from "./product/product.ts";
import type { TotalMode } from "./product/product-count.ts";
import type { Facet } from "./product/product-facet.ts";
import type { ProductView } from "./product/product-query.ts";

const TOTALS = new Map<TotalModeMessage, TotalMode>([
  [TotalModeMessage.ESTIMATED, "ESTIMATED"],
  [TotalModeMessage.EXACT, "EXACT"],
]);

const FACETS = new Map<FacetMessage, Facet>([
  [FacetMessage.BRAND, "BRAND"],
  [FacetMessage.CATEGORY, "CATEGORY"],
  [FacetMessage.PRICE, "PRICE"],
]);

const REASONS = new Map<StockReasonMessage, StockReason>([
  [StockReasonMessage.RECOUNT, "RECOUNT"],
  [StockReasonMessage.RECEIVED, "RECEIVED"],
  [StockReasonMessage.DAMAGED, "DAMAGED"],
  [StockReasonMessage.RETURNED, "RETURNED"],
  [StockReasonMessage.CORRECTION, "CORRECTION"],
]);

/**
 * CatalogService on the wire: messages in, messages out, no rules. Ids that are compared or given back are
 * written in lower case, as PostgreSQL writes UUIDs.
 */
export function catalogRpc(catalog: Catalog, callOf: (context: HandlerContext) => Call, checkRow: RowCheck) {
  const { products, categories } = catalog;
  return {
    ...importRpc(catalog, callOf, checkRow),

    async getProduct({ key, showDeleted, readMask }, context) {
      const { case: column = "id", value = "" } = key;
      const options = { showDeleted, readMask: readMask?.paths ?? [] };
      return { product: toProduct(await products.get(callOf(context), { column, value }, options)) };
    },

    async batchGetProducts({ ids, readMask }, context) {
      const found = await products.batch(callOf(context), ids, readMask?.paths ?? []);
      return { products: found.map(toProduct) };
    },

    async listProducts({ total, facets, readMask, categoryId, minPrice, maxPrice, ...request }, context) {
      const page = await products.list(callOf(context), {
        ...request,
        categoryId: categoryId.toLowerCase(),
        minPrice,
        maxPrice,
        minCreateTime: fromTimestamp(request.minCreateTime),
        maxCreateTime: fromTimestamp(request.maxCreateTime),
        readMask: readMask?.paths ?? [],
        total: TOTALS.get(total) ?? "NONE",
        facets: facets.flatMap((facet) => FACETS.get(facet) ?? []),
      });
      return {
        products: page.items.map(toProduct),
        nextPageToken: page.nextPageToken,
        totalSize: page.total,
        facets: page.facets,
        correctedQuery: page.correctedQuery,
      };
    },

    async createProduct({ product, requestId, validateOnly }, context) {
      const change = { product: fromProduct(product), requestId, validateOnly };
      return { product: toProduct(await products.create(callOf(context), change)) };
    },

    async updateProduct({ product, updateMask, requestId, validateOnly }, context) {
      const change = {
        product: fromProduct(product),
        mask: updateMask?.paths ?? [],
        requestId,
        validateOnly,
      };
      return { product: toProduct(await products.update(callOf(context), change)) };
    },

    async deleteProduct({ id, etag }, context) {
      return { product: toProduct(await products.remove(callOf(context), id, etag)) };
    },

    async undeleteProduct({ id, etag }, context) {
      return { product: toProduct(await products.restore(callOf(context), id, etag)) };
    },

    async adjustStock({ productId, delta, expectedQuantity, reason, effectiveTime, requestId }, context) {
      const product = await catalog.adjustStock(callOf(context), {
        productId: productId.toLowerCase(),
        delta,
        expectedQuantity,
        reason: REASONS.get(reason) ?? "CORRECTION",
        effectiveTime: effectiveTime && timestampDate(effectiveTime),
        requestId,
      });
      return { product: toProduct(product) };
    },

    async getCategory({ key }, context) {
      const wanted = key.case === "slug" ? { slug: key.value } : { id: key.value ?? "" };
      return { category: toCategory(await categories.get(callOf(context), wanted)) };
    },

    async listCategories({ parentId, ...request }, context) {
      const page = await categories.list(callOf(context), { ...request, parentId: parentId.toLowerCase() });
      return { categories: page.items.map(toCategory), nextPageToken: page.nextPageToken };
    },

    async createCategory({ category, requestId, validateOnly }, context) {
      const { slug = "", name = "", parentId = "" } = category ?? {};
      const input = { slug, name, parentId: parentId.toLowerCase() };
      const change = { category: input, requestId, validateOnly };
      return { category: toCategory(await categories.create(callOf(context), change)) };
    },

    async updateCategory({ category, updateMask, requestId, validateOnly }, context) {
      const { id = "", etag = "", slug = "", name = "", parentId = "" } = category ?? {};
      const change = {
        category: { id: id.toLowerCase(), etag, slug, name, parentId: parentId.toLowerCase() },
        mask: updateMask?.paths ?? [],
        requestId,
        validateOnly,
      };
      return { category: toCategory(await categories.update(callOf(context), change)) };
    },

    async deleteCategory({ id, etag }, context) {
      await categories.remove(callOf(context), id, etag);
      return {};
    },

    async listBrands(request, context) {
      const page = await catalog.listBrands(callOf(context), request);
      return { brands: page.items, nextPageToken: page.nextPageToken };
    },

    async getCatalogStats({ lowStockThreshold }, context) {
      const { asOfTime, ...stats } = await catalog.stats(callOf(context), lowStockThreshold);
      return { stats: { ...stats, asOfTime: timestampFromDate(asOfTime) } };
    },
  } satisfies ServiceImpl<typeof CatalogService>;
}

type ProductChange = ProductInput & { id: string; etag: string; stockQuantity: bigint };

function fromProduct(product: ProductMessage | undefined): ProductChange {
  const {
    id = "",
    etag = "",
    sku = "",
    name = "",
    description = "",
    categoryId = "",
    brand = "",
  } = product ?? {};
  const { price, imageUri = "", attributes = {}, stockQuantity = 0n } = product ?? {};
  return {
    ...{ id: id.toLowerCase(), categoryId: categoryId.toLowerCase() },
    ...{ etag, sku, name, description, brand, imageUri, attributes, stockQuantity },
    price: price && { currencyCode: price.currencyCode, minorUnits: price.minorUnits },
  };
}

/** Times are kept in milliseconds: what is at this time or later is so at the next whole one. */
function fromTimestamp(time: Timestamp | undefined): Date | undefined {
  return time && new Date(Number(time.seconds) * 1_000 + Math.ceil(time.nanos / 1_000_000));
}

function toProduct(product: ProductView): MessageInitShape<typeof ProductSchema> {
  return {
    ...product,
    createTime: product.createTime && timestampFromDate(product.createTime),
    updateTime: product.updateTime && timestampFromDate(product.updateTime),
    deleteTime: product.deleteTime && timestampFromDate(product.deleteTime),
  };
}

function toCategory(category: Category): MessageInitShape<typeof CategorySchema> {
  return {
    ...category,
    createTime: timestampFromDate(category.createTime),
    updateTime: timestampFromDate(category.updateTime),
  };
}
