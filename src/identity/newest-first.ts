import type { Keyset } from "../infra/postgres/keyset.ts";

/** The sort order of lists by descending id: ids are UUIDv7, so they sort by creation. */
export const NEWEST_FIRST: Keyset = { columns: [{ name: "id", type: "uuid" }], descending: true };
