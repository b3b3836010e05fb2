import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";
import { searchableText } from "../searchable-text.ts";

/** A category: a node of the category tree. */
export const CategoryEntity = defineEntity({
  name: "Category",
  tableName: "category",
  properties: {
    id: p.uuid().primary(),
    slug: p.text(),
    name: p.text(),
    parentId: p.uuid().nullable(),
    version: p.integer().version(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
  },
  uniques: [{ name: "category_slug_unique", properties: ["slug"] }],
  indexes: [
    { name: "category_name", properties: ["name", "id"] },
    { name: "category_parent", properties: ["parentId", "name", "id"] },
    {
      name: "category_search",
      expression: `create index category_search on category using gin (to_tsvector('simple', ${searchableText("name")}))`,
    },
  ],
  checks: [{ name: "category_parent_other", expression: "parent_id <> id" }],
});
