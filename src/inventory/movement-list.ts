import { type RawBuilder, sql } from "kysely";
import { type Keyset, keysetCondition, keysetOrder } from "../infra/postgres/keyset.ts";
import type { Database } from "../infra/postgres/postgres.ts";
import { allOf, prepareDynamic } from "../infra/postgres/statement.ts";
import type { Call } from "../kernel/call.ts";
import { invalidField } from "../kernel/errors.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import type { StockReason } from "./adjustment-rules.ts";
import type { OrderMovement } from "./stock-movement.ts";

/** The reason of an entry of the ledger. */
export type MovementReason = StockReason | OrderMovement | "INITIAL";

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

const NEWEST_FIRST: Keyset = {
  columns: [
    { name: "created_at", type: "timestamptz" },
    { name: "id", type: "bigint" },
  ],
  descending: true,
};
const COLUMNS = sql.raw(
  "id, product_id, on_hand_delta, reserved_delta, reason, order_id, effective_at, created_at",
);
/** The reasons of entries without an order. */
const OTHER_REASONS: readonly MovementReason[] = [
  "INITIAL",
  "RECOUNT",
  "RECEIVED",
  "DAMAGED",
  "RETURNED",
  "CORRECTION",
];

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
  if (!isNarrow && reason !== undefined && !OTHER_REASONS.includes(reason)) {
    throw invalidField("reason", `${reason} needs product_id or order_id`);
  }
  const query = { list: "stock-movements", ...filter };
  const size = resolvePageSize(pageSize);
  const range = allOf([
    minCreateTime === undefined ? undefined : sql`created_at >= ${minCreateTime}`,
    maxCreateTime === undefined ? undefined : sql`created_at < ${maxCreateTime}`,
    keysetCondition(NEWEST_FIRST, tokens.readCursor(pageToken, query)),
  ]);
  const page = sql`${keysetOrder(NEWEST_FIRST)} limit ${size + 1}`;
  const reasons = reason === undefined ? OTHER_REASONS : [reason];
  const statement = isNarrow ? selectNarrow(filter, range, page) : selectByReason(reasons, range, page);
  const rows = await db.read(call, prepareDynamic(statement));
  const cursor = ({ id, created_at: createdAt }: MovementRow) => [createdAt, id];
  return tokens.createPage(rows, size, query, cursor, movementFromRow);
}

/** Returns the statement for the entries of a product, an order or both. */
function selectNarrow(
  { productId, orderId, reason }: Pick<MovementListRequest, "productId" | "orderId" | "reason">,
  range: RawBuilder<boolean>,
  page: RawBuilder<unknown>,
): RawBuilder<MovementRow> {
  const where = allOf([
    productId === "" ? undefined : sql`product_id = ${productId}`,
    orderId === "" ? undefined : sql`order_id = ${orderId}`,
    reason === undefined ? undefined : sql`reason = ${reason}`,
    // The condition of an index. A plan for all values of the parameter cannot infer it.
    reason === undefined || reason === "ORDER" ? undefined : sql`reason <> 'ORDER'`,
    range,
  ]);
  return sql<MovementRow>`select ${COLUMNS} from stock_movement where ${where} ${page}`;
}

/** Returns the statement for the entries of all products. It reads at most a page of each reason. */
function selectByReason(
  reasons: readonly MovementReason[],
  range: RawBuilder<boolean>,
  page: RawBuilder<unknown>,
): RawBuilder<MovementRow> {
  return sql<MovementRow>`
    select entry.* from unnest(${reasons}::text[]) as requested (reason), lateral (
      select ${COLUMNS} from stock_movement
      where order_id is null and stock_movement.reason = requested.reason and ${range} ${page}
    ) as entry ${page}`;
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
