import { sql } from "kysely";
import type { Catalog, SoldProduct } from "../catalog/catalog.ts";
import type { Customers } from "../customer/customer.ts";
import { requestIdReused } from "../infra/postgres/idempotency/run-idempotent.ts";
import { runMutation } from "../infra/postgres/idempotency/run-mutation.ts";
import type { Database, Tx } from "../infra/postgres/postgres.ts";
import { violatesConstraint } from "../infra/postgres/postgres-errors.ts";
import type { Inventory, MovementStatements, StockLine } from "../inventory/inventory.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { AppError, invalidField, notFound, staleEtag } from "../kernel/errors.ts";
import type { Ids } from "../kernel/ids.ts";
import { assertAmount } from "../kernel/money.ts";
import type { PageTokens } from "../kernel/page.ts";
import { ownerScope, type Principal, permissionDenied, requestOwner } from "../kernel/principal.ts";
import type { Tracker } from "../tracker/tracker.ts";
import {
  createOrderReads,
  type Order,
  type OrderItem,
  type OrderRow,
  orderFromRow,
  SELECT_ORDER,
} from "./order-read.ts";
import { allowedTransitions, nextState } from "./order-state.ts";

/** An order to be placed. */
export interface OrderInput {
  /** Empty for a guest. */
  customerId: string;
  /** Empty for none. */
  promotionId: string;
  items: readonly StockLine[];
}

/** What the orders are made of. */
export interface OrderOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  catalog: Catalog;
  inventory: Inventory;
  customers: Customers;
  tracker: Tracker;
  /** Told, in its transaction, of an order that was called off; absent: nobody. */
  onCancelled?: (tx: Tx, order: Order) => Promise<void>;
}

/** Orders. Stock is never sold twice, and an order is never made twice. */
export function createOrders(options: OrderOptions) {
  const { db, ids, clock, catalog, inventory, customers, tracker, onCancelled } = options;

  async function place(tx: Tx, call: Call, input: OrderInput, requestId: string): Promise<Order> {
    const { customerId, promotionId, items: lines } = input;
    if (customerId !== "") await customers.lock(tx, customerId);
    const products = await catalog.lockForSale(tx, lines);
    const order = price(input, products, ids(), clock.now());
    const now = order.createTime;
    const move = inventory.orderMovement({ orderId: order.id, reason: "ORDER", lines, now });
    await insert(tx, order, requestId, move);
    if (promotionId !== "") {
      const items = order.items.map((item) => ({ productId: item.productId, amount: item.totalPrice }));
      const tracked = { orderId: order.id, promotionId, customerId, items, now };
      await tracker.recordOrder(tx, call, tracked);
    }
    return order;
  }

  return {
    ...createOrderReads(options),

    /**
     * Places an order: stock, order, ledger and the answer to a repeat, all in one transaction or not at all.
     * @returns the order, and whether this is the first answer given again
     */
    async create(
      call: Call,
      { order, requestId, validateOnly }: { order: OrderInput; requestId: string; validateOnly: boolean },
    ): Promise<{ order: Order; replayed: boolean }> {
      assertDistinct(order.items);
      const input = { ...order, customerId: buyer(call.principal, order.customerId) };
      // Guests of several services are not each other.
      const owner = input.customerId || requestOwner(call.principal);
      const how = { method: "CreateOrder", owner, requestId, validateOnly };
      const { result, replayed } = await runMutation(db, call, how, input, (tx) =>
        place(tx, call, input, requestId),
      );
      return { order: result, replayed };
    },

    /** Calls an order off and puts its units back in stock, once. */
    async cancel(
      call: Call,
      { id, etag, requestId }: { id: string; etag: string; requestId: string },
    ): Promise<Order> {
      const how = { method: "CancelOrder", requestId };
      const { result } = await runMutation(db, call, how, { id, etag }, async (tx) => {
        const order = await lock(tx, call, id, etag);
        const state = nextState(id, order.state, "CANCEL");
        const now = clock.now();
        const lines = order.items;
        await catalog.lockForReturn(tx, lines);
        const move = inventory.orderMovement({ orderId: id, reason: "CANCEL", lines, now });
        await tx.query(sql`
          with stock as (${move.stock}), ledger as (${move.ledger})
          update orders set state = ${state}, version = version + 1, updated_at = ${now} where id = ${id}`);
        if (order.promotionId !== "") await tracker.reverseOrder(tx, call, id, now);
        await onCancelled?.(tx, order);
        const etagNow = String(Number(order.etag) + 1);
        return {
          ...order,
          state,
          allowedTransitions: allowedTransitions(state),
          etag: etagNow,
          updateTime: now,
        };
      });
      return result;
    },

    /**
     * For reviews, in their transaction: whether a customer has an order with the product that stands, and that it
     * goes on to stand until the transaction ends.
     */
    async hasBought(tx: Tx, customerId: string, productId: string): Promise<boolean> {
      const rows = await tx.query(sql`
        select from orders join order_item on order_id = orders.id
        where customer_id = ${customerId} and product_id = ${productId} and state <> 'CANCELLED'
        order by orders.id for share of orders`);
      return rows.length > 0;
    },
  };
}

/** The orders as other rooms see them. */
export type Orders = ReturnType<typeof createOrders>;

function assertDistinct(lines: readonly StockLine[]): void {
  const seen = new Set<string>();
  for (const [index, { productId }] of lines.entries()) {
    if (seen.has(productId)) {
      throw invalidField(
        `order.items[${index}].product_id`,
        "is in the order twice. Send each product once, with the whole quantity.",
        "PRODUCT_TWICE",
      );
    }
    seen.add(productId);
  }
}

/** Who is to have the order: the signed-in customer unless staff or a service say otherwise. */
function buyer(principal: Principal, asked: string): string {
  const own = principal.kind === "account" ? principal.customerId : "";
  const confined = ownerScope(principal);
  if (asked === "" || asked === own) return own;
  if (confined === undefined) return asked;
  throw permissionDenied(
    "Only staff may order for another customer. Leave order.customer_id empty.",
    "NOT_YOURS",
  );
}

/** The order at the prices of this moment. */
function price(
  { customerId, promotionId, items: lines }: OrderInput,
  products: ReadonlyMap<string, SoldProduct>,
  id: string,
  now: Date,
): Order {
  const items = lines.map(({ productId, quantity }): OrderItem => {
    const product = products.get(productId);
    if (product === undefined) throw notFound("product", productId);
    const { sku, name, price: unitPrice } = product;
    const totalPrice = { ...unitPrice, minorUnits: unitPrice.minorUnits * quantity };
    return { productId, sku, name, unitPrice, quantity, totalPrice };
  });
  const currencies = [...new Set(items.map((item) => item.unitPrice.currencyCode))].sort();
  const [currencyCode = ""] = currencies;
  if (currencies.length > 1) {
    const description = `its products are priced in ${currencies.join(" and ")}; order them apart`;
    throw new AppError("failed_precondition", `An order has one currency: ${description}.`, {
      reason: "SEVERAL_CURRENCIES",
      preconditions: [{ type: "CURRENCY", subject: "order", description }],
    });
  }
  const minorUnits = items.reduce((sum, item) => sum + item.totalPrice.minorUnits, 0n);
  assertAmount(minorUnits, "order.items");
  return {
    ...{ id, customerId, promotionId, items, state: "PENDING" as const },
    totalPrice: { currencyCode, minorUnits },
    allowedTransitions: allowedTransitions("PENDING"),
    etag: "1",
    createTime: now,
    updateTime: now,
  };
}

/** Writes the order and what it does to stock, in one statement. */
async function insert(
  tx: Tx,
  order: Order,
  requestId: string,
  { stock, ledger }: MovementStatements,
): Promise<void> {
  const { id, customerId, promotionId, state, totalPrice, createTime, items } = order;
  const column = <T>(value: (item: OrderItem) => T) => items.map(value);
  const statement = sql`
    with stock as (${stock}), ledger as (${ledger}), item as (
      insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity)
      select ${id}::uuid, ordinality, product_id, sku, name, unit_minor, quantity
      from unnest(
        ${column((item) => item.productId)}::uuid[], ${column((item) => item.sku)}::text[],
        ${column((item) => item.name)}::text[], ${column((item) => item.unitPrice.minorUnits.toString())}::bigint[],
        ${column((item) => item.quantity.toString())}::bigint[]
      ) with ordinality as item (product_id, sku, name, unit_minor, quantity, ordinality)
    )
    insert into orders (
      id, customer_id, state, currency, total_minor, promotion_id, request_id, version, created_at, updated_at
    ) values (
      ${id}, ${customerId || null}, ${state}, ${totalPrice.currencyCode}, ${totalPrice.minorUnits},
      ${promotionId || null}, ${requestId}, 1, ${createTime}, ${createTime}
    )`;
  await tx.query(statement).catch((error: unknown) => {
    if (violatesConstraint(error, "orders_request_unique")) throw requestIdReused();
    throw violatesConstraint(error, "orders_promotion_id_fk") ? notFound("promotion", promotionId) : error;
  });
}

/** Somebody else's order is not there for a customer. */
async function lock(tx: Tx, call: Call, id: string, etag: string): Promise<Order> {
  const owner = ownerScope(call.principal) ?? null;
  const [locked] = await tx.query(sql<{ id: string }>`
    select id from orders where id = ${id} and (${owner}::uuid is null or customer_id = ${owner}) for update`);
  if (locked === undefined) throw notFound("order", id);
  const [row] = await tx.query(sql<OrderRow>`${sql.raw(SELECT_ORDER)} where id = ${id}`);
  if (row === undefined) throw notFound("order", id);
  const order = orderFromRow(row);
  if (etag !== "" && etag !== order.etag) throw staleEtag("order", id, order.etag);
  return order;
}
