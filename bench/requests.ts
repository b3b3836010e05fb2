import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  CatalogService,
  type ListProductsRequestSchema,
} from "../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { SEED_CATEGORIES, type SeedCategory } from "../src/cli/seed/generate/categories.ts";
import { seedId } from "../src/cli/seed/generate/seed-id.ts";
import { prepare } from "./wire.ts";

const { getProduct, listProducts } = CatalogService.method;

/** What a list can be asked for. */
export type ListInit = MessageInitShape<typeof ListProductsRequestSchema>;

/** A list. */
export const listOf = (init: ListInit) => prepare(listProducts, init);

/** The n-th product of the seeded shop. */
export const productById = (number: number) =>
  prepare(getProduct, { key: { case: "id", value: seedId("product", number) } });

/** The same by its sku. */
export const productBySku = (number: number) =>
  prepare(getProduct, { key: { case: "sku", value: `SKU-${String(number).padStart(6, "0")}` } });

/** The seeded categories, with their ids. */
export const CATEGORIES: readonly (SeedCategory & { id: string })[] = SEED_CATEGORIES.map(
  (category, index) => ({
    ...category,
    id: seedId("category", index + 1),
  }),
);
