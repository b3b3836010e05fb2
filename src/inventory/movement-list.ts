import { sql } from "kysely";
import { type Keyset, keysetCondition, keysetOrder } from "../infra/postgres/keyset.ts";
import type { Database } from "../infra/postgres/postgres.ts";
import { allOf, prepareDynamic } from "../infra/postgres/statement.ts";
import type { Call } from "../kernel/call.ts";
import { invalidField } from "../kernel/errors.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import type { StockReason } from "./adjustment-rules.ts";

/** The reason of an entry of the ledger. */
export type MovementReason = StockReason | "INITIAL" | "ORDER" | "CANCEL";

/** An entry of the ledger. */
export interface StockMovement {
  id: bigint;
  productId: string;
  onHandDelta: bigint;
  reservedDelta: bigint;
  reason: MovementReason;
  /** Empty for an entry without an order. */
  orderId: string;
  effectiveTime: Date;
  createTime: Date;
}

/** A request for a page of the ledger. */
export interface MovementListRequest extends PageRequest {
  /** Empty for all products. */
  productId: string;
  /** Empty for all orders. */
  orderId: string;
  /** Undefined for all reasons. */
  reason: MovementReason | undefined;
  /** Inclusive; undefined for no bound. */
  minCreateTime: Date | undefined;
  /** Exclusive; undefined for no bound. */
  maxCreateTime: Date | undefined;
}

interface MovementRow {
  id: string;
  product_id: string;
  on_hand_delta: string;
  reserved_delta: string;
  reason: MovementReason;
  order_id: string | null;
  effective_at: string;
  created_at: string;
}

const ID = { name: "id", type: "bigint" };
/** Of one product or order: served by their indexes. */
const BY_ID: Keyset = { columns: [ID], descending: true };
/** Of all products: served by an index without the entries of orders, so that orders do not write to it. */
const BY_TIME: Keyset = { columns: [{ name: "created_at", type: "timestamptz" }, ID], descending: true };

/**
 * Returns a page of the ledger, newest first. Without a product and an order, the entries of orders are left out.
 * @throws AppError invalid_argument for a reason of orders without a product and an order
 */
export async function listStockMovements(
  { db, tokens }: { db: Database; tokens: PageTokens },
  call: Call,
  { pageSize, pageToken, ...filter }: MovementListRequest,
): Promise<Page<StockMovement>> {
  const { productId, orderId, reason, minCreateTime, maxCreateTime } = filter;
  const isNarrow = productId !== "" || orderId !== "";
  if (!isNarrow && (reason === "ORDER" || reason === "CANCEL")) {
    throw invalidField("reason", "ORDER and CANCEL need product_id or order_id");
  }
  const query = { list: "stock-movements", ...filter };
  const size = resolvePageSize(pageSize);
  const keyset = isNarrow ? BY_ID : BY_TIME;
  const where = allOf([
    isNarrow ? undefined : sql`order_id is null`,
    productId === "" ? undefined : sql`product_id = ${productId}`,
    orderId === "" ? undefined : sql`order_id = ${orderId}`,
    reason === undefined ? undefined : sql`reason = ${reason}`,
    minCreateTime === undefined ? undefined : sql`created_at >= ${minCreateTime}`,
    maxCreateTime === undefined ? undefined : sql`created_at < ${maxCreateTime}`,
    keysetCondition(keyset, tokens.readCursor(pageToken, query)),
  ]);
  const statement = sql<MovementRow>`
    select id, product_id, on_hand_delta, reserved_delta, reason, order_id, effective_at, created_at
    from stock_movement where ${where} ${keysetOrder(keyset)} limit ${size + 1}`;
  const rows = await db.read(call, prepareDynamic(statement));
  const cursor = ({ id, created_at: createdAt }: MovementRow) => (isNarrow ? [id] : [createdAt, id]);
  return tokens.createPage(rows, size, query, cursor, movementFromRow);
}

function movementFromRow(row: MovementRow): StockMovement {
  return {
    id: BigInt(row.id),
    productId: row.product_id,
    onHandDelta: BigInt(row.on_hand_delta),
    reservedDelta: BigInt(row.reserved_delta),
    reason: row.reason,
    orderId: row.order_id ?? "",
    effectiveTime: new Date(row.effective_at),
    createTime: new Date(row.created_at),
  };
}
