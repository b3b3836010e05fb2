import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../infra/postgres/columns.ts";

/** A person who buys. */
export const CustomerEntity = defineEntity({
  name: "Customer",
  tableName: "customer",
  properties: {
    id: p.uuid().primary(),
    email: p.text(),
    name: p.text(),
    version: p.integer().version(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
    deletedAt: timestamp().nullable(),
  },
  uniques: [
    {
      name: "customer_email_unique",
      expression:
        "create unique index customer_email_unique on customer (lower(email)) where deleted_at is null",
    },
  ],
  indexes: [
    { name: "customer_email", expression: "create index customer_email on customer (lower(email), id)" },
  ],
  checks: [{ name: "customer_email_not_empty", expression: "email <> ''" }],
});
