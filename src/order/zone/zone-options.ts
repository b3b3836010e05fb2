import type { Database } from "../../infra/postgres/postgres.ts";
import type { Clock } from "../../kernel/clock.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { PageTokens } from "../../kernel/page.ts";

/** Dependencies of the zones. */
export interface ZoneOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
}

/** A request to create a zone. */
export interface ZoneCreation<Input> {
  zone: Input;
  /** Empty for none. */
  requestId: string;
  validateOnly: boolean;
}

/** A request to update a zone. */
export interface ZoneUpdate<Input> {
  /** The zone to change and its new values. An empty etag matches any version. */
  zone: Input & { id: string; etag: string };
  /** Contract names of the fields to change; empty for the fields that are not empty, "*" for all. */
  mask: string[];
  /** Empty for none. */
  requestId: string;
  validateOnly: boolean;
}

/** The cache tag of what depends on zones. */
export const ZONES_TAG = "zones";
