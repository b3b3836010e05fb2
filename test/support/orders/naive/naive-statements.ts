import type pg from "pg";
import type { Fixture } from "../model/fixture.ts";
import type { Line, Outcome } from "../model/operation.ts";
import type { StoredOrder } from "../model/shop-run.ts";
import { readStoredOrders } from "../model/stored-orders.ts";

/** A product as a naive implementation has read it. */
export interface NaiveProduct {
  id: string;
  index: number;
  onHand: number;
  reserved: number;
  price: number;
}

/** An order that is inserted, with its request. */
export interface NewNaiveOrder {
  id: string;
  lines: readonly (Line & { unitPrice: number })[];
  hasPromotion: boolean;
  /** Empty for a guest. */
  customerId: string;
  requestId: string;
  fingerprint: string;
}

/** A request and its result. */
export interface NaiveRequest {
  body: string;
  result: { outcome: Outcome; createdId?: string };
}

/** A change of the stock of a product. */
export interface NaiveChange {
  product: NaiveProduct;
  onHandDelta: number;
  reservedDelta: number;
  reason: "ORDER" | "CANCEL" | "EXPIRE" | "SHIP" | "ORDER_RETURN" | "CORRECTION" | "RECOUNT";
  /** Undefined for a change without an order. */
  order: { id: string; sequence: number } | undefined;
  /** Change of the units sold. */
  sold: number;
}

/** The statements of naive implementations, in one transaction. */
export class NaiveStatements {
  readonly #client: pg.PoolClient;
  readonly #fixture: Fixture;
  /** Runs after the commit. */
  readonly registered: ((statements: NaiveStatements) => Promise<unknown>)[] = [];

  constructor(client: pg.PoolClient, fixture: Fixture) {
    this.#client = client;
    this.#fixture = fixture;
  }

  async query<Row>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.#client.query<Row & object>(text, values)).rows;
  }

  afterCommit(work: (statements: NaiveStatements) => Promise<unknown>): void {
    this.registered.push(work);
  }

  /** Returns the first outcome for a request key. */
  async findRequest(method: string, requestId: string): Promise<NaiveRequest | undefined> {
    const [found] = await this.query<{ response: Buffer }>(
      "select response from idempotency where method = $1 and owner = '' and request_id = $2",
      [method, requestId],
    );
    return found === undefined ? undefined : JSON.parse(found.response.toString());
  }

  async insertRequest(method: string, requestId: string, request: NaiveRequest): Promise<void> {
    await this.query(
      "insert into idempotency (method, owner, request_id, fingerprint, response) values ($1, '', $2, '', $3)",
      [method, requestId, Buffer.from(JSON.stringify(request))],
    );
  }

  /** Locks request keys until the transaction ends. */
  async lockKeys(keys: readonly string[]): Promise<void> {
    const names = keys
      .map((key) => `${this.#fixture.categorySlug} ${this.#fixture.productIds[0]} ${key}`)
      .sort();
    await this.query(
      "select pg_advisory_xact_lock(hashtextextended(name, 0)) from unnest($1::text[]) as key (name)",
      [names],
    );
  }

  /** Locks the stock of products until the transaction ends, in id order. */
  async lockProducts(indexes: readonly number[]): Promise<void> {
    const ids = indexes.map((index) => this.#fixture.productIds[index]);
    await this.query(
      "select from inventory where product_id = any($1) order by product_id for no key update",
      [ids],
    );
  }

  async findProduct(index: number): Promise<NaiveProduct> {
    const [row] = await this.query<{ id: string; on_hand: string; reserved: string; price_minor: string }>(
      "select id, on_hand, reserved, price_minor from product join inventory on product_id = id where id = $1",
      [this.#fixture.productIds[index]],
    );
    if (row === undefined) throw new Error(`there is no product ${index}`);
    const [onHand, reserved, price] = [Number(row.on_hand), Number(row.reserved), Number(row.price_minor)];
    return { id: row.id, index, onHand, reserved, price };
  }

  /**
   * Changes the stock of a product and records the change.
   * @param isOverwriting whether the stock is set to the sum of what was read and the change
   */
  async changeStock(change: NaiveChange, isOverwriting: boolean): Promise<void> {
    const { product, onHandDelta, reservedDelta, reason, order, sold } = change;
    const [onHand, reserved] = isOverwriting
      ? ["$4::bigint + $2::bigint", "$5::bigint + $3::bigint"]
      : ["on_hand + $2::bigint + 0 * $4::bigint", "reserved + $3::bigint + 0 * $5::bigint"];
    await this.query(
      `update inventory set on_hand = ${onHand}, reserved = ${reserved}, version = version + 1 where product_id = $1`,
      [product.id, onHandDelta, reservedDelta, product.onHand, product.reserved],
    );
    await this.query(
      `insert into stock_movement (
         product_id, on_hand_delta, reserved_delta, reason, order_id, order_sequence, effective_at, created_at
       ) values ($1, $2, $3, $4, $5, $6, now(), now())`,
      [product.id, onHandDelta, reservedDelta, reason, order?.id, order?.sequence],
    );
    await this.query(
      "update product set in_stock = (select on_hand > reserved from inventory where product_id = id) where id = $1",
      [product.id],
    );
    await this.addSales(product.index, sold);
  }

  /** Changes the units sold of a product. */
  async addSales(index: number, units: number): Promise<void> {
    const productId = this.#fixture.productIds[index];
    await this.query("insert into product_sales values ($1, 0) on conflict do nothing", [productId]);
    await this.query("update product_sales set purchase_count = purchase_count + $2 where product_id = $1", [
      productId,
      units,
    ]);
    await this.query(
      `update product set popularity = floor(10 * ln(1 + purchase_count::double precision))
       from product_sales where product_id = id and id = $1`,
      [productId],
    );
  }

  /** @param customerId undefined for any customer, empty for a guest */
  async findOrder(
    customerId: string | undefined,
    requestId: string,
  ): Promise<(StoredOrder & { fingerprint: string }) | undefined> {
    const [found] = await this.query<{ id: string; fingerprint: Buffer }>(
      `select id, fingerprint from orders
       where request_id = $2 and ($1::text is null or coalesce(customer_id::text, '') = $1)`,
      [customerId ?? null, requestId],
    );
    if (found === undefined) return undefined;
    return { ...(await this.readOrder(found.id)), fingerprint: found.fingerprint.toString() };
  }

  async readOrder(id: string): Promise<StoredOrder> {
    const orders = await readStoredOrders(this, this.#fixture, "id = $1", [id]);
    const [order] = Object.values(orders).flat();
    if (order === undefined) throw new Error(`there is no order ${id}`);
    return order;
  }

  async insertOrder({ id, customerId, hasPromotion, lines, ...request }: NewNaiveOrder): Promise<void> {
    const total = lines.reduce((sum, { quantity, unitPrice }) => sum + quantity * unitPrice, 0);
    await this.query(
      `insert into orders (
         id, customer_id, owner, currency, total_minor, request_id, fingerprint, promotion_id,
         expires_at, reservation_seconds, placed_by, version, created_at, updated_at
       ) values ($1, $2, $3, 'EUR', $4, $5, $6, $7, now() + interval '30 minutes', 1800, 'GUEST', 1, now(), now())`,
      [
        id,
        customerId || null,
        customerId,
        total,
        request.requestId,
        Buffer.from(request.fingerprint),
        hasPromotion ? this.#fixture.promotionId : null,
      ],
    );
    for (const [index, { product, quantity, unitPrice }] of lines.entries()) {
      await this.query(
        `insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity)
         values ($1, $2, $3, 'SKU', 'Product', $4, $5)`,
        [id, index + 1, this.#fixture.productIds[product], unitPrice, quantity],
      );
    }
  }
}
