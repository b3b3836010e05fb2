import { type RawBuilder, sql } from "kysely";
import { pick } from "../../kernel/fields.ts";

/** The state of a promotion, which its start and end determine. */
export type PromotionState = "SCHEDULED" | "ACTIVE" | "ENDED";

/** A period in which purchases are counted and limited. */
export interface Promotion {
  id: string;
  name: string;
  state: PromotionState;
  startTime: Date;
  /** Undefined for a promotion without end. */
  endTime: Date | undefined;
  /** Maximum number of purchases; 0 for no limit. */
  purchaseLimit: bigint;
  /** Maximum number of purchases of one user; 0 for no limit. */
  purchaseLimitPerUser: bigint;
  etag: string;
  createTime: Date;
}

/** A row of the table promotion, as the statements here and the entity have it. */
export interface PromotionRow {
  id: string;
  name: string;
  startAt: string | Date;
  endAt?: string | Date | null;
  purchaseLimit: string | bigint;
  purchaseLimitPerUser: string | bigint;
  version: number;
  createdAt: string | Date;
}

/** Selects promotions; a condition follows. */
export const SELECT_PROMOTION = sql`
  select id, name, start_at as "startAt", end_at as "endAt", purchase_limit as "purchaseLimit",
    purchase_limit_per_user as "purchaseLimitPerUser", version, created_at as "createdAt"
  from promotion`;

/** Returns the promotion of a row, in the state that it has at `now`. */
export function promotionFromRow(row: PromotionRow, now: Date): Promotion {
  const startTime = new Date(row.startAt);
  const endTime = row.endAt ? new Date(row.endAt) : undefined;
  return {
    ...pick(row, ["id", "name"]),
    state: promotionState(startTime, endTime, now),
    startTime,
    endTime,
    purchaseLimit: BigInt(row.purchaseLimit),
    purchaseLimitPerUser: BigInt(row.purchaseLimitPerUser),
    etag: String(row.version),
    createTime: new Date(row.createdAt),
  };
}

/** Returns the condition that a promotion is in a state at `now`, by the same rules as `promotionFromRow`. */
export function isInState(state: PromotionState, now: Date): RawBuilder<boolean> {
  switch (state) {
    case "SCHEDULED":
      return sql`start_at > ${now} and (end_at is null or end_at > ${now})`;
    case "ACTIVE":
      return sql`start_at <= ${now} and (end_at is null or end_at > ${now})`;
    case "ENDED":
      return sql`end_at <= ${now}`;
  }
}

function promotionState(startTime: Date, endTime: Date | undefined, now: Date): PromotionState {
  if (endTime !== undefined && endTime <= now) return "ENDED";
  return startTime > now ? "SCHEDULED" : "ACTIVE";
}
