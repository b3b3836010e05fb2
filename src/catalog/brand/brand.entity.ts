import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";

/** A brand. The brand with the empty name belongs to the products without a brand. */
export const BrandEntity = defineEntity({
  name: "Brand",
  tableName: "brand",
  properties: { name: p.text().primary(), createdAt: timestamp() },
});
