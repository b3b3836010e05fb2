import { sql } from "kysely";
import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import { keysetCondition, keysetOrder, NEWEST_ID_FIRST } from "../../infra/postgres/keyset.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { allOf, prepare, prepareDynamic } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { assertEtag, invalidField, notFound } from "../../kernel/errors.ts";
import { assertPresent } from "../../kernel/fields.ts";
import type { Ids } from "../../kernel/ids.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";
import { promotionNotRunning } from "./lock-promotions.ts";
import { PromotionEntity } from "./promotion.entity.ts";
import {
  isInState,
  type Promotion,
  type PromotionRow,
  type PromotionState,
  promotionFromRow,
  SELECT_PROMOTION,
} from "./promotion-row.ts";

/** The fields of a promotion that callers write. */
export interface PromotionInput {
  name: string;
  /** Defaults to now. */
  startTime: Date | undefined;
  /** Undefined for a promotion without end. */
  endTime: Date | undefined;
  /** 0 for no limit. */
  purchaseLimit: bigint;
  /** 0 for no limit. */
  purchaseLimitPerUser: bigint;
}

/** A request to create a promotion. */
export interface PromotionCreation {
  promotion: PromotionInput;
  requestId: string;
  validateOnly: boolean;
}

/** A request for a page of promotions. */
export interface PromotionListRequest extends PageRequest {
  /** Undefined for all states. */
  state: PromotionState | undefined;
}

/** The promotions of the shop. */
export interface Promotions {
  /** Creates a promotion. @throws AppError invalid_argument for an end before its start or in the past */
  create(call: Call, creation: PromotionCreation): Promise<Promotion>;
  /** Returns a promotion. @throws AppError not_found */
  get(call: Call, id: string): Promise<Promotion>;
  /** Returns a page of promotions, newest first. */
  list(call: Call, request: PromotionListRequest): Promise<Page<Promotion>>;
  /**
   * Ends a promotion now.
   * @throws AppError not_found; aborted for a stale etag; failed_precondition when it has ended
   */
  end(call: Call, request: { id: string; etag: string; requestId: string }): Promise<Promotion>;
}

/** Dependencies of the promotions. */
export interface PromotionOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
}

const findById = prepare<[id: string], PromotionRow>((id) => sql`${SELECT_PROMOTION} where id = ${id}`);

/** Creates the promotions. */
export function createPromotions({ db, ids, clock, tokens }: PromotionOptions): Promotions {
  return {
    async create(call, { promotion, requestId, validateOnly }) {
      assertPresent({ "promotion.name": promotion.name });
      const mutation = { method: "CreatePromotion", requestId, validateOnly };
      const { result } = await runMutation(db, call, mutation, promotion, async (tx) => {
        const now = clock.now();
        const { startTime: startAt = now, endTime: endAt = null, ...input } = promotion;
        if (endAt !== null && (endAt <= startAt || endAt <= now)) {
          throw invalidField("promotion.end_time", "must be after start_time and in the future");
        }
        const row = tx.em.create(PromotionEntity, { ...input, startAt, endAt, id: ids(), createdAt: now });
        await tx.em.flush();
        return promotionFromRow(row, now);
      });
      return result;
    },

    async get(call, id) {
      const [row] = await db.read(call, findById(id));
      if (row === undefined) throw notFound("promotion", id);
      return promotionFromRow(row, clock.now());
    },

    async list(call, { state, pageSize, pageToken }) {
      const query = { list: "promotions", state };
      const size = resolvePageSize(pageSize);
      const now = clock.now();
      const where = allOf([
        state === undefined ? undefined : isInState(state, now),
        keysetCondition(NEWEST_ID_FIRST, tokens.readCursor(pageToken, query)),
      ]);
      const statement = sql<PromotionRow>`
        ${SELECT_PROMOTION} where ${where} ${keysetOrder(NEWEST_ID_FIRST)} limit ${size + 1}`;
      const rows = await db.read(call, prepareDynamic(statement));
      const item = (row: PromotionRow) => promotionFromRow(row, now);
      return tokens.createPage(rows, size, query, (row) => [row.id], item);
    },

    async end(call, { id, etag, requestId }) {
      const mutation = { method: "EndPromotion", requestId };
      const { result } = await runMutation(db, call, mutation, { id, etag }, async (tx) => {
        const row = await tx.em.findOne(PromotionEntity, { id });
        if (row === null) throw notFound("promotion", id);
        const now = clock.now();
        const current = promotionFromRow(row, now);
        if (current.state === "ENDED") throw promotionNotRunning(id, "has ended");
        assertEtag("promotion", current, etag);
        tx.em.assign(row, { startAt: row.startAt < now ? row.startAt : now, endAt: now });
        await tx.em.flush();
        return promotionFromRow(row, now);
      });
      return result;
    },
  };
}
