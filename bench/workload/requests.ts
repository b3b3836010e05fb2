import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  CatalogService,
  type ListProductsRequestSchema,
} from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { SEED_CATEGORIES, type SeedCategory } from "../../src/cli/seed/generate/categories.ts";
import { seedId } from "../../src/cli/seed/generate/seed-id.ts";
import { encodeRequest } from "../harness/grpc-client.ts";

const { getProduct, listProducts } = CatalogService.method;

/** The fields of a ListProducts request. */
export type ListInit = MessageInitShape<typeof ListProductsRequestSchema>;

/** Encodes a ListProducts request. */
export const listRequest = (init: ListInit) => encodeRequest(listProducts, init);

/** Encodes a GetProduct request for the n-th seeded product, by id. */
export const productByIdRequest = (number: number) =>
  encodeRequest(getProduct, { key: { case: "id", value: seedId("product", number) } });

/** Encodes a GetProduct request for the n-th seeded product, by sku. */
export const productBySkuRequest = (number: number) =>
  encodeRequest(getProduct, { key: { case: "sku", value: `SKU-${String(number).padStart(6, "0")}` } });

/** The seeded categories with their ids. */
export const CATEGORIES: readonly (SeedCategory & { id: string })[] = SEED_CATEGORIES.map(
  (category, index) => ({
    ...category,
    id: seedId("category", index + 1),
  }),
);
