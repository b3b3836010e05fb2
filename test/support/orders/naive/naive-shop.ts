import { randomUUID } from "node:crypto";
import pg from "pg";
import type { Fixture } from "../model/fixture.ts";
import { addUp } from "../model/model-state.ts";
import {
  type AdjustStock,
  type CreateOrder,
  type ImportProducts,
  type Line,
  type Observation,
  type Outcome,
  orderKey,
  type Recount,
  type Write,
} from "../model/operation.ts";
import { requestIdOf } from "../request-ids.ts";
import { NaiveBatches } from "./naive-batches.ts";
import { describeStored, type NaiveOrder, type NaiveStatements } from "./naive-statements.ts";
import { runInTransaction } from "./naive-transaction.ts";

/** A mistake that implementations of orders make. */
export type Flaw =
  | "stock is read, changed and overwritten without a lock"
  | "request keys are stored after the commit"
  | "a cancellation does not check the state"
  | "request keys leave out the method"
  | "request keys leave out the owner"
  | "the failed member of a batch is dropped";

/** A rejection, which rolls the transaction back. */
class Rejection extends Error {
  readonly outcome: Outcome;

  constructor(code: string, reason: string) {
    super(reason);
    this.outcome = { code, reason };
  }
}

type KeyedWrite = Exclude<Write, CreateOrder>;

/**
 * A small implementation of the writes of a shop on the schema of the service, one statement after the other. Without a
 * flaw it is correct, so that a failure of a check is due to the flaw.
 */
export class NaiveShop {
  readonly #pool: pg.Pool;
  readonly #fixture: Fixture;
  readonly #flaw: Flaw | undefined;
  readonly #batches: NaiveBatches<CreateOrder, Observation>;

  constructor(pool: pg.Pool, fixture: Fixture, flaw: Flaw | undefined) {
    this.#pool = pool;
    this.#fixture = fixture;
    this.#flaw = flaw;
    this.#batches = new NaiveBatches((operations) => this.#createAll(operations));
  }

  async write(operation: Write, ids: ReadonlyMap<string, string>): Promise<Observation> {
    try {
      if (operation.method === "CreateOrder") return await this.#batches.join(operation);
      return { outcome: await this.#runOnce(operation, ids) };
    } catch (error) {
      return { outcome: rejectionOf(error) };
    }
  }

  async #createAll(operations: readonly CreateOrder[]): Promise<Observation[]> {
    return this.#transact(async (statements) => {
      await statements.lockKeys(operations.map((operation) => `CreateOrder ${orderKey(operation)}`));
      await this.#lockProducts(
        statements,
        operations.flatMap(({ lines }) => lines),
      );
      const observations: Observation[] = [];
      const isDropping = this.#flaw === "the failed member of a batch is dropped" && operations.length > 1;
      for (const operation of operations) {
        observations.push(await this.#createMember(statements, operation, isDropping));
      }
      return observations;
    });
  }

  async #createMember(
    statements: NaiveStatements,
    operation: CreateOrder,
    isDropping: boolean,
  ): Promise<Observation> {
    await statements.query("savepoint member");
    const id = randomUUID();
    const observation = await this.#createOrder(statements, operation, id).catch(async (error: unknown) => {
      if (!(error instanceof Rejection) && !isDropping) throw error;
      await statements.query("rollback to savepoint member");
      if (error instanceof Rejection) return { outcome: error.outcome };
      const lines = await this.#priceLines(statements, operation.lines);
      return observe({ id, state: "PENDING", lines }, false);
    });
    if (operation.validateOnly) await statements.query("rollback to savepoint member");
    return observation;
  }

  async #createOrder(statements: NaiveStatements, operation: CreateOrder, id: string): Promise<Observation> {
    const customerId = this.#fixture.customerIds[operation.owner] ?? "";
    const requestId = requestIdOf(this.#fixture, operation.requestId);
    const fingerprint = JSON.stringify(operation.lines);
    const isAnyOwner = this.#flaw === "request keys leave out the owner";
    const existing = await statements.findOrder(isAnyOwner ? undefined : customerId, requestId);
    if (existing !== undefined) {
      const isSame = existing.fingerprint === fingerprint;
      if (!isSame) throw new Rejection("InvalidArgument", "REQUEST_ID_REUSED");
      return observe({ ...existing, state: "PENDING" }, true);
    }
    const lines = await this.#priceLines(statements, operation.lines);
    const order: NaiveOrder = { id, state: "PENDING", lines };
    const isLate = this.#flaw === "request keys are stored after the commit" && !operation.validateOnly;
    await statements.insertOrder({
      ...order,
      customerId,
      requestId: isLate ? randomUUID() : requestId,
      fingerprint,
    });
    for (const line of lines) await this.#changeStock(statements, line, 0, line.quantity, "ORDER", id);
    if (isLate) {
      statements.afterCommit((later) =>
        later.query("update orders set request_id = $1 where id = $2", [requestId, id]),
      );
    }
    return observe(order, false);
  }

  /** Runs a write once for each request key. */
  async #runOnce(operation: KeyedWrite, ids: ReadonlyMap<string, string>): Promise<Outcome> {
    const ownMethod = operation.method === "Recount" ? "AdjustStock" : operation.method;
    const method = this.#flaw === "request keys leave out the method" ? "" : ownMethod;
    const { requestId } = operation;
    return this.#transact(async (statements) => {
      const key = requestId === undefined ? undefined : requestIdOf(this.#fixture, requestId);
      if (key !== undefined) await statements.lockKeys([`${method} ${key}`]);
      const body = JSON.stringify(operation);
      const stored = key === undefined ? undefined : await statements.findRequest(method, key);
      if (stored !== undefined && stored.body !== body)
        throw new Rejection("InvalidArgument", "REQUEST_ID_REUSED");
      if (stored !== undefined) return stored.outcome;
      const outcome = await this.#runWrite(statements, operation, ids);
      const isLate = this.#flaw === "request keys are stored after the commit";
      const store = (later: NaiveStatements) =>
        key === undefined ? Promise.resolve() : later.insertRequest(method, key, { body, outcome });
      if (isLate) statements.afterCommit(store);
      else await store(statements);
      return outcome;
    });
  }

  #runWrite(statements: NaiveStatements, operation: KeyedWrite, ids: ReadonlyMap<string, string>) {
    if (operation.method === "CancelOrder") return this.#cancel(statements, ids.get(operation.order) ?? "");
    if (operation.method === "AdjustStock") return this.#adjust(statements, operation);
    if (operation.method === "Recount") return this.#recount(statements, operation);
    return this.#import(statements, operation);
  }

  async #cancel(statements: NaiveStatements, id: string): Promise<Outcome> {
    await statements.query("select from orders where id = $1 for update", [id]);
    const order = await statements.readOrder(id);
    const isUnchecked = this.#flaw === "a cancellation does not check the state";
    if (order.state !== "PENDING" && !isUnchecked) throw new Rejection("FailedPrecondition", "ORDER_STATE");
    await this.#lockProducts(statements, order.lines);
    for (const line of order.lines)
      await this.#changeStock(statements, line, 0, -line.quantity, "CANCEL", id);
    await statements.query("update orders set state = 'CANCELLED', version = version + 1 where id = $1", [
      id,
    ]);
    return describeStored({ ...order, state: "CANCELLED" });
  }

  async #adjust(statements: NaiveStatements, { product, delta, expected }: AdjustStock): Promise<Outcome> {
    await this.#lockProducts(statements, [{ product }]);
    const { onHand, reserved } = await statements.findProduct(product);
    if (expected !== undefined && expected !== onHand - reserved)
      throw new Rejection("Aborted", "STOCK_CHANGED");
    await this.#changeStock(statements, { product }, delta, 0, "CORRECTION");
    return { code: "OK", stock: onHand - reserved + delta, onHand: onHand + delta };
  }

  async #recount(statements: NaiveStatements, { product, onHand }: Recount): Promise<Outcome> {
    await this.#lockProducts(statements, [{ product }]);
    const before = await statements.findProduct(product);
    const delta = onHand - before.onHand;
    if (delta !== 0) await this.#changeStock(statements, { product }, delta, 0, "RECOUNT");
    return { code: "OK", stock: onHand - before.reserved, onHand };
  }

  async #import(statements: NaiveStatements, { lines }: ImportProducts): Promise<Outcome> {
    await this.#lockProducts(statements, lines);
    let updated = 0;
    for (const { product, stock, price } of lines) {
      const before = await statements.findProduct(product);
      const delta = stock === undefined ? 0 : stock - before.onHand + before.reserved;
      if (delta !== 0) await this.#changeStock(statements, { product }, delta, 0, "RECOUNT");
      await statements.query("update product set price_minor = $2 where id = $1", [before.id, price]);
      if (delta !== 0 || price !== before.price) updated += 1;
    }
    return { code: "OK", updated, unchanged: lines.length - updated };
  }

  async #lockProducts(statements: NaiveStatements, lines: readonly { product: number }[]): Promise<void> {
    if (this.#flaw === "stock is read, changed and overwritten without a lock") return;
    await statements.lockProducts(lines.map(({ product }) => product));
  }

  async #priceLines(statements: NaiveStatements, lines: readonly Line[]): Promise<NaiveOrder["lines"]> {
    const priced: NaiveOrder["lines"] = [];
    for (const line of addUp(lines)) {
      const { price } = await statements.findProduct(line.product);
      priced.push({ ...line, unitPrice: price });
    }
    return priced;
  }

  async #changeStock(
    statements: NaiveStatements,
    { product: index }: { product: number },
    onHandDelta: number,
    reservedDelta: number,
    reason: "ORDER" | "CANCEL" | "CORRECTION" | "RECOUNT",
    orderId?: string,
  ): Promise<void> {
    const product = await statements.findProduct(index);
    const available = product.onHand - product.reserved;
    if (available + onHandDelta - reservedDelta < 0)
      throw new Rejection("FailedPrecondition", "OUT_OF_STOCK");
    await statements.changeStock(
      { product, onHandDelta, reservedDelta, reason, orderId },
      {
        isOverwriting: this.#flaw === "stock is read, changed and overwritten without a lock",
        isRepeatable: this.#flaw === "a cancellation does not check the state",
      },
    );
  }

  #transact<T>(work: (statements: NaiveStatements) => Promise<T>): Promise<T> {
    return runInTransaction(this.#pool, this.#fixture, work);
  }
}

/** Returns the outcome of a failure; undefined if it is unknown whether the transaction was committed. */
function rejectionOf(error: unknown): Outcome | undefined {
  if (error instanceof Rejection) return error.outcome;
  if (!(error instanceof pg.DatabaseError) || /^(08|57)/.test(error.code ?? "")) return undefined;
  if (error.constraint === "orders_customer_id_fk") return { code: "NotFound", reason: "CUSTOMER_NOT_FOUND" };
  return { code: "Internal", reason: error.message };
}

function observe(order: NaiveOrder, replayed: boolean): Observation {
  return { outcome: describeStored(order, { replayed }), orderId: order.id, response: order.id };
}
