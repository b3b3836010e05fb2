import { randomUUID } from "node:crypto";
import pg from "pg";
import { addUp, asPlaced } from "../model/create-order.ts";
import type { Fixture } from "../model/fixture.ts";
import { describeOrder } from "../model/model-order.ts";
import {
  type CreateOrder,
  type KnownIds,
  type Line,
  type Observation,
  type Outcome,
  orderKey,
  type PassExpireTime,
  requestKey,
  type Write,
} from "../model/operation.ts";
import type { StoredOrder } from "../model/shop-run.ts";
import { requestIdOf } from "../request-ids.ts";
import type { NaiveContext } from "./apply-naive-change.ts";
import type { Flaw } from "./flaws.ts";
import { NaiveBatches } from "./naive-batches.ts";
import { changeOrder, completeExpiries, type NaiveResult, startExpiries } from "./naive-changes.ts";
import { holdPurchases } from "./naive-promotions.ts";
import type { NaiveStatements } from "./naive-statements.ts";
import { changeStock, lockProducts, writeStock } from "./naive-stock.ts";
import { runInTransaction } from "./naive-transaction.ts";
import { Rejection } from "./rejection.ts";

type KeyedWrite = Exclude<Write, CreateOrder | PassExpireTime>;
type PricedLine = Line & { unitPrice: number };

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

  async write(operation: Exclude<Write, PassExpireTime>, ids: KnownIds): Promise<Observation> {
    try {
      if (operation.method === "CreateOrder") return await this.#batches.join(operation);
      const { outcome, createdId } = await this.#runOnce(operation, ids);
      return createdId === undefined ? { outcome } : { outcome, createdId, response: createdId };
    } catch (error) {
      return { outcome: rejectionOf(error) };
    }
  }

  /** Expires the orders that are due, by two transactions. */
  async expire(): Promise<void> {
    await this.#transact(startExpiries);
    await this.#transact(completeExpiries);
  }

  async #createAll(operations: readonly CreateOrder[]): Promise<Observation[]> {
    return this.#transact(async (context) => {
      const { statements } = context;
      await statements.lockKeys(operations.map((operation) => `CreateOrder ${orderKey(operation)}`));
      const lines = operations.flatMap((operation) => operation.lines);
      await lockProducts(
        context,
        lines.map(({ product }) => product),
      );
      const observations: Observation[] = [];
      const isDropping = this.#flaw === "the failed member of a batch is dropped" && operations.length > 1;
      for (const operation of operations) {
        observations.push(await this.#createMember(context, operation, isDropping));
      }
      return observations;
    });
  }

  async #createMember(
    context: NaiveContext,
    operation: CreateOrder,
    isDropping: boolean,
  ): Promise<Observation> {
    const { statements } = context;
    await statements.query("savepoint member");
    const id = randomUUID();
    const observation = await this.#createOrder(context, operation, id).catch(async (error: unknown) => {
      if (!(error instanceof Rejection) && !isDropping) throw error;
      await statements.query("rollback to savepoint member");
      if (error instanceof Rejection) return { outcome: error.outcome };
      return observe(newOrder(id, operation, await this.#priceLines(statements, operation.lines)), false);
    });
    if (operation.validateOnly) await statements.query("rollback to savepoint member");
    return observation;
  }

  async #createOrder(context: NaiveContext, operation: CreateOrder, id: string): Promise<Observation> {
    const { statements } = context;
    const { hasPromotion } = operation;
    const customerId = this.#fixture.customerIds[operation.owner] ?? "";
    const requestId = requestIdOf(this.#fixture, operation.requestId);
    const fingerprint = JSON.stringify([operation.lines, hasPromotion]);
    const isAnyOwner = this.#flaw === "request keys leave out the owner";
    const existing = await statements.findOrder(isAnyOwner ? undefined : customerId, requestId);
    if (existing !== undefined) {
      const isSame = existing.fingerprint === fingerprint;
      if (!isSame) throw new Rejection("InvalidArgument", "REQUEST_ID_REUSED");
      return observe(asPlaced(existing), true);
    }
    const lines = await this.#priceLines(statements, operation.lines);
    const isLate = this.#flaw === "request keys are stored after the commit" && !operation.validateOnly;
    await statements.insertOrder({
      id,
      lines,
      hasPromotion,
      customerId,
      requestId: isLate ? randomUUID() : requestId,
      fingerprint,
    });
    for (const { product, quantity } of lines) {
      const order = { id, sequence: 1 };
      const change = {
        onHandDelta: 0,
        reservedDelta: quantity,
        reason: "ORDER",
        order,
        sold: quantity,
      } as const;
      await changeStock(context, product, change);
    }
    if (hasPromotion) {
      await holdPurchases(statements, this.#fixture, { id, customerId, purchases: lines.length });
    }
    if (isLate) {
      statements.afterCommit((later) =>
        later.query("update orders set request_id = $1 where id = $2", [requestId, id]),
      );
    }
    return observe(newOrder(id, operation, lines), false);
  }

  /** Runs a write once for each request key. */
  async #runOnce(operation: KeyedWrite, ids: KnownIds): Promise<NaiveResult> {
    const { requestId } = operation;
    const [ownMethod = ""] = (requestKey(operation) ?? "").split(" ");
    const method = this.#flaw === "request keys leave out the method" ? "" : ownMethod;
    const isRepeatable =
      this.#flaw === "a repeated cancellation of items is executed again" &&
      operation.method === "CancelOrderItems";
    return this.#transact(async (context) => {
      const { statements } = context;
      const key = requestId === undefined || isRepeatable ? undefined : requestIdOf(this.#fixture, requestId);
      if (key !== undefined) await statements.lockKeys([`${method} ${key}`]);
      const body = JSON.stringify(operation);
      const stored = key === undefined ? undefined : await statements.findRequest(method, key);
      if (stored !== undefined && stored.body !== body)
        throw new Rejection("InvalidArgument", "REQUEST_ID_REUSED");
      if (stored !== undefined) return stored.result;
      const result = await runWrite(context, operation, ids);
      const isLate = this.#flaw === "request keys are stored after the commit";
      const store = (later: NaiveStatements) =>
        key === undefined ? Promise.resolve() : later.insertRequest(method, key, { body, result });
      if (isLate) statements.afterCommit(store);
      else await store(statements);
      return result;
    });
  }

  async #priceLines(statements: NaiveStatements, lines: readonly Line[]): Promise<PricedLine[]> {
    const priced: PricedLine[] = [];
    for (const line of addUp(lines)) {
      const { price } = await statements.findProduct(line.product);
      priced.push({ ...line, unitPrice: price });
    }
    return priced;
  }

  #transact<T>(work: (context: NaiveContext) => Promise<T>): Promise<T> {
    const fixture = this.#fixture;
    const flaw = this.#flaw;
    return runInTransaction(this.#pool, fixture, (statements) => work({ statements, fixture, flaw }));
  }
}

async function runWrite(context: NaiveContext, operation: KeyedWrite, ids: KnownIds): Promise<NaiveResult> {
  switch (operation.method) {
    case "AdjustStock":
    case "Recount":
    case "ImportProducts":
      return { outcome: await writeStock(context, operation) };
    default:
      return changeOrder(context, operation, ids);
  }
}

/** Returns the outcome of a failure; undefined if it is unknown whether the transaction was committed. */
function rejectionOf(error: unknown): Outcome | undefined {
  if (error instanceof Rejection) return error.outcome;
  if (!(error instanceof pg.DatabaseError) || /^(08|57)/.test(error.code ?? "")) return undefined;
  if (error.constraint === "orders_customer_id_fk") return { code: "NotFound", reason: "CUSTOMER_NOT_FOUND" };
  return { code: "Internal", reason: error.message };
}

function newOrder(id: string, { hasPromotion }: CreateOrder, lines: readonly PricedLine[]): StoredOrder {
  return {
    id,
    hasPromotion,
    ...asPlaced({ lines: lines.map((line) => ({ ...line, tax: 0 })), shipping: 0 }),
  };
}

function observe(order: StoredOrder, replayed: boolean): Observation {
  return { outcome: describeOrder(order, { replayed }), createdId: order.id, response: order.id };
}
