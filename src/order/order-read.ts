import { type Database, prepared } from "../infra/postgres/postgres.ts";
import type { Call } from "../kernel/call.ts";
import { notFound } from "../kernel/errors.ts";
import type { Money } from "../kernel/money.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import { ownerScope, permissionDenied } from "../kernel/principal.ts";
import { allowedTransitions, type OrderState, type OrderTransition } from "./order-state.ts";

/** One product of an order, as it was when the order was placed. */
export interface OrderItem {
  productId: string;
  sku: string;
  name: string;
  unitPrice: Money;
  quantity: bigint;
  totalPrice: Money;
}

/** What somebody bought. */
export interface Order {
  id: string;
  /** Empty for a guest. */
  customerId: string;
  state: OrderState;
  items: OrderItem[];
  totalPrice: Money;
  /** Empty when none. */
  promotionId: string;
  allowedTransitions: OrderTransition[];
  etag: string;
  createTime: Date;
  updateTime: Date;
}

interface ItemRow {
  product_id: string;
  sku: string;
  name: string;
  unit_minor: string;
  quantity: string;
}

/** An order with its items, as the statements here select it. */
export interface OrderRow {
  id: string;
  customer_id: string | null;
  state: OrderState;
  currency: string;
  total_minor: string;
  promotion_id: string | null;
  version: number;
  created_at: string;
  updated_at: string;
  items: ItemRow[];
}

/** Selects orders with their items; numbers as text, since JSON readers round large ones. */
export const SELECT_ORDER = `
  select orders.*, (
    select json_agg(json_build_object(
      'product_id', product_id, 'sku', sku, 'name', name,
      'unit_minor', unit_minor::text, 'quantity', quantity::text
    ) order by position) from order_item where order_id = orders.id
  ) as items
  from orders`;
const BY_ID = prepared(`${SELECT_ORDER} where id = $1 and ($2::uuid is null or customer_id = $2)`);

/** The reads of orders. */
export function createOrderReads({ db, tokens }: { db: Database; tokens: PageTokens }) {
  return {
    /** One order. Somebody else's is not there for a customer. */
    async get(call: Call, id: string): Promise<Order> {
      const [row] = await db.read<OrderRow>(call, BY_ID, [id, ownerScope(call.principal) ?? null]);
      if (row === undefined) throw notFound("order", id);
      return orderFromRow(row);
    },

    /** Orders, newest first: all, those of a customer, those in a state. For a customer only their own. */
    async list(
      call: Call,
      { state, ...request }: PageRequest & { customerId: string; state: OrderState | undefined },
    ): Promise<Page<Order>> {
      const { customerId: asked, ...page } = request;
      const customerId = ownerScope(call.principal) ?? asked;
      if (asked !== "" && asked !== customerId)
        throw permissionDenied("These are somebody else's orders.", "NOT_YOURS");
      const query = { list: "orders", customerId, state };
      const size = resolvePageSize(page.pageSize);
      const after = tokens.readCursor(page.pageToken, query);
      const values: unknown[] = [];
      const bind = (value: unknown) => `$${values.push(value)}`;
      const tests = [
        ...(customerId === "" ? [] : [`customer_id = ${bind(customerId)}`]),
        ...(state === undefined ? [] : [`state = ${bind(state)}`]),
        ...(after === undefined
          ? []
          : [`(created_at, id) < (${bind(after[0])}::timestamptz, ${bind(after[1])}::uuid)`]),
      ];
      const text = `${SELECT_ORDER} where ${tests.join(" and ") || "true"}
        order by created_at desc, id desc limit ${bind(size + 1)}`;
      const rows = await db.read<OrderRow>(call, prepared(text), values);
      return tokens.createPage(rows, size, query, (row) => [row.created_at, row.id], orderFromRow);
    },
  };
}

/** The order of a row. */
export function orderFromRow(row: OrderRow): Order {
  const money = (minorUnits: bigint): Money => ({ currencyCode: row.currency, minorUnits });
  return {
    id: row.id,
    customerId: row.customer_id ?? "",
    state: row.state,
    items: row.items.map((item) => ({
      productId: item.product_id,
      sku: item.sku,
      name: item.name,
      unitPrice: money(BigInt(item.unit_minor)),
      quantity: BigInt(item.quantity),
      totalPrice: money(BigInt(item.unit_minor) * BigInt(item.quantity)),
    })),
    totalPrice: money(BigInt(row.total_minor)),
    promotionId: row.promotion_id ?? "",
    allowedTransitions: allowedTransitions(row.state),
    etag: String(row.version),
    createTime: new Date(row.created_at),
    updateTime: new Date(row.updated_at),
  };
}
