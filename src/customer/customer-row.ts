import { sql } from "kysely";
import { pick } from "../kernel/fields.ts";

/** A person who buys. */
export interface Customer {
  id: string;
  /** Unique among customers that are not deleted, without regard to case. */
  email: string;
  name: string;
  etag: string;
  createTime: Date;
  updateTime: Date;
  /** Undefined unless deleted. */
  deleteTime: Date | undefined;
}

/** A row of the table customer, as the statements here and the entity have it. */
export interface CustomerRow {
  id: string;
  email: string;
  name: string;
  version: number;
  createdAt: string | Date;
  updatedAt: string | Date;
  deletedAt?: string | Date | null;
}

/** The columns of `CustomerRow`. */
export const CUSTOMER_COLUMNS = sql`
  id, email, name, version, created_at as "createdAt", updated_at as "updatedAt", deleted_at as "deletedAt"`;

/** Returns the customer of a row. */
export function customerFromRow(row: CustomerRow): Customer {
  return {
    ...pick(row, ["id", "email", "name"]),
    etag: String(row.version),
    createTime: new Date(row.createdAt),
    updateTime: new Date(row.updatedAt),
    deleteTime: row.deletedAt ? new Date(row.deletedAt) : undefined,
  };
}
