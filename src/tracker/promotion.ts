import type { InferEntity } from "@mikro-orm/postgresql";
import { sql } from "kysely";
import { runMutation } from "../infra/postgres/idempotency/run-mutation.ts";
import type { Database, Tx } from "../infra/postgres/postgres.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { AppError, invalidField, notFound, staleEtag } from "../kernel/errors.ts";
import { assertPresent, pick } from "../kernel/fields.ts";
import type { Ids } from "../kernel/ids.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import { PromotionEntity } from "./tracker.entity.ts";

/** Where a promotion stands. */
export type PromotionState = "SCHEDULED" | "ACTIVE" | "ENDED";

/** A time in which purchases are counted, and limited. */
export interface Promotion {
  id: string;
  name: string;
  state: PromotionState;
  startTime: Date;
  endTime: Date | undefined;
  /** 0: no limit. */
  purchaseLimit: bigint;
  purchaseLimitPerUser: bigint;
  etag: string;
  createTime: Date;
}

/** What staff write of a promotion. */
export interface PromotionInput {
  name: string;
  startTime: Date | undefined;
  endTime: Date | undefined;
  purchaseLimit: bigint;
  purchaseLimitPerUser: bigint;
}

type Row = InferEntity<typeof PromotionEntity>;

interface ReadRow {
  id: string;
  name: string;
  start_at: string;
  end_at: string | null;
  purchase_limit: string;
  purchase_limit_per_user: string;
  version: number;
  created_at: string;
}

const BY_ID = { name: "promotion_by_id", text: "select * from promotion where id = $1" };
const IN_STATE: Record<PromotionState | "ANY", string> = {
  ANY: "true",
  SCHEDULED: "start_at > $3 and (end_at is null or end_at > $3)",
  ACTIVE: "start_at <= $3 and (end_at is null or end_at > $3)",
  ENDED: "end_at <= $3",
};
const HIGHEST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/** What the tracker is made of. */
export interface TrackerOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
}

/** Promotions: when purchases count, and how many. */
export function createPromotions({ db, ids, clock, tokens }: TrackerOptions) {
  return {
    /** A new promotion; it starts now unless it says otherwise. */
    async create(
      call: Call,
      { promotion, ...how }: { promotion: PromotionInput; requestId: string; validateOnly: boolean },
    ): Promise<Promotion> {
      assertPresent({ "promotion.name": promotion.name });
      const options = { ...how, method: "CreatePromotion" };
      const { result } = await runMutation(db, call, options, promotion, async (tx) => {
        const now = clock.now();
        const { startTime: startAt = now, endTime: endAt = null, ...input } = promotion;
        if (endAt !== null && (endAt <= startAt || endAt <= now)) {
          throw invalidField("promotion.end_time", "must be after start_time and in the future");
        }
        const row = tx.em.create(PromotionEntity, { ...input, startAt, endAt, id: ids(), createdAt: now });
        await tx.em.flush();
        return toPromotion(row, now);
      });
      return result;
    },

    async get(call: Call, id: string): Promise<Promotion> {
      const [row] = await db.read<ReadRow>(call, BY_ID, [id]);
      if (row === undefined) throw notFound("promotion", id);
      return fromRow(row, clock.now());
    },

    /** Promotions, newest first: all, or those in one state. */
    async list(
      call: Call,
      { state, ...page }: PageRequest & { state: PromotionState | undefined },
    ): Promise<Page<Promotion>> {
      const query = { list: "promotions", state };
      const size = resolvePageSize(page.pageSize);
      const now = clock.now();
      const [before = HIGHEST_ID] = tokens.readCursor(page.pageToken, query) ?? [];
      const values = [before, size + 1, ...(state === undefined ? [] : [now])];
      const text = `select * from promotion where id < $1 and ${IN_STATE[state ?? "ANY"]} order by id desc limit $2`;
      const rows = await db.read<ReadRow>(call, { name: `promotions_${state ?? "any"}`, text }, values);
      return tokens.createPage(
        rows,
        size,
        query,
        (row) => [row.id],
        (row) => fromRow(row, now),
      );
    },

    /** Ends a promotion now. FAILED_PRECONDITION when it has ended. */
    async end(
      call: Call,
      { id, etag, requestId }: { id: string; etag: string; requestId: string },
    ): Promise<Promotion> {
      const options = { method: "EndPromotion", requestId };
      const { result } = await runMutation(db, call, options, { id, etag }, async (tx) => {
        const row = await tx.em.findOne(PromotionEntity, { id });
        if (row === null) throw notFound("promotion", id);
        const now = clock.now();
        if (stateOf(row.startAt, row.endAt, now) === "ENDED") throw notRunning(id, "has ended");
        if (etag !== "" && etag !== String(row.version)) {
          throw staleEtag("promotion", id, String(row.version));
        }
        tx.em.assign(row, { startAt: row.startAt < now ? row.startAt : now, endAt: now });
        await tx.em.flush();
        return toPromotion(row, now);
      });
      return result;
    },
  };
}

/** Why a promotion takes no purchase now. */
export function notRunning(id: string, description: string): AppError {
  return new AppError("failed_precondition", `Promotion ${id} ${description}. Nothing was changed.`, {
    reason: "PROMOTION_NOT_RUNNING",
    preconditions: [{ type: "PROMOTION", subject: `promotions/${id}`, description }],
  });
}

/** The promotions of these ids. Those with limits stay locked, in id order, until the transaction ends. */
export async function lockPromotions(
  tx: Tx,
  ids: readonly string[],
  now: Date,
): Promise<Map<string, Promotion>> {
  const wanted = [...new Set(ids)];
  const rows = await tx.query(sql<ReadRow>`select * from promotion where id = any(${wanted}::uuid[])`);
  const promotions = new Map(rows.map((row) => [row.id, fromRow(row, now)]));
  const limited = [...promotions.values()].filter(
    ({ purchaseLimit, purchaseLimitPerUser }) => purchaseLimit > 0n || purchaseLimitPerUser > 0n,
  );
  if (limited.length === 0) return promotions;
  // Read again, as they are once they are locked.
  const locked = await tx.query(sql<ReadRow>`
    select * from promotion where id = any(${limited.map(({ id }) => id)}::uuid[]) order by id for no key update`);
  for (const row of locked) promotions.set(row.id, fromRow(row, now));
  return promotions;
}

function stateOf(startAt: Date, endAt: Date | null | undefined, now: Date): PromotionState {
  if (endAt && endAt <= now) return "ENDED";
  return startAt > now ? "SCHEDULED" : "ACTIVE";
}

function toPromotion(row: Row, now: Date): Promotion {
  return {
    ...pick(row, ["id", "name", "purchaseLimit", "purchaseLimitPerUser"]),
    state: stateOf(row.startAt, row.endAt, now),
    startTime: row.startAt,
    endTime: row.endAt ?? undefined,
    etag: String(row.version),
    createTime: row.createdAt,
  };
}

function fromRow(row: ReadRow, now: Date): Promotion {
  const startTime = new Date(row.start_at);
  const endTime = row.end_at === null ? undefined : new Date(row.end_at);
  return {
    id: row.id,
    name: row.name,
    state: stateOf(startTime, endTime, now),
    startTime,
    endTime,
    purchaseLimit: BigInt(row.purchase_limit),
    purchaseLimitPerUser: BigInt(row.purchase_limit_per_user),
    etag: String(row.version),
    createTime: new Date(row.created_at),
  };
}
