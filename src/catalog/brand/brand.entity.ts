import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";

/** A brand. The one with an empty name stands for products without a brand, so that every product has one. */
export const BrandEntity = defineEntity({
  name: "Brand",
  tableName: "brand",
  properties: { name: p.text().primary(), createdAt: timestamp() },
});
