import fc from "fast-check";
import { quotedTotal } from "./create-order.ts";
import { stockOf } from "./model-state.ts";
import { CUSTOMERS, UNKNOWN_OWNER } from "./operation.ts";
import { orderChanges } from "./order-arbitraries.ts";
import { ModelViolation, type ShopModel } from "./shop-model.ts";
import type { Fault, ShopRun } from "./shop-run.ts";
import { at, type Template, template } from "./template.ts";

/** Numbers of products and request_ids of a run. */
const PRODUCTS = 3;
const REQUEST_IDS = 4;
const MAX_QUANTITY = 3;
const MAX_CONCURRENT_CALLS = 4;
const MAX_PRICE = 5;

/** Calls the service, concurrently if there are several operations, and checks the outcomes. */
class Calls implements fc.AsyncCommand<ShopModel, ShopRun> {
  readonly #templates: readonly Template[];
  readonly #replicas: readonly number[];

  constructor(templates: readonly Template[], replicas: readonly number[]) {
    this.#templates = templates;
    this.#replicas = replicas;
  }

  check(): boolean {
    return true;
  }

  async run(model: ShopModel, run: ShopRun): Promise<void> {
    const operations = this.#templates.flatMap(({ choose }) => choose(model) ?? []);
    const calls = operations.map(async (operation, index) => {
      const replica = this.#replicas[index % this.#replicas.length] ?? 0;
      return { operation, observation: await run.call(operation, replica, model.ids) };
    });
    const observed = await Promise.all(calls);
    const unknown = observed.filter(({ observation }) => observation.outcome === undefined);
    if (unknown.length > 0 && !run.hasFaults())
      throw new ModelViolation(`no fault explains ${JSON.stringify(unknown)}`);
    model.observe(observed);
  }

  toString(): string {
    return `call ${this.#templates.map(({ text }) => text).join(" and ")} at ${this.#replicas.join(", ")}`;
  }
}

/** Injects a fault. */
class Inject implements fc.AsyncCommand<ShopModel, ShopRun> {
  readonly #fault: Fault;

  constructor(fault: Fault) {
    this.#fault = fault;
  }

  check(): boolean {
    return true;
  }

  run(_model: ShopModel, run: ShopRun): Promise<void> {
    return run.inject(this.#fault);
  }

  toString(): string {
    return `inject ${JSON.stringify(this.#fault)}`;
  }
}

const product = fc.nat({ max: PRODUCTS - 1 });
const owner = fc.constantFrom(0, 0, 1, 1, 2, 2, UNKNOWN_OWNER);
const requestId = fc.nat({ max: REQUEST_IDS - 1 });
const quantity = fc.integer({ min: 1, max: MAX_QUANTITY });
const replica = fc.nat({ max: 1 });
const byProduct = {
  minLength: 1,
  maxLength: PRODUCTS,
  selector: (line: { product: number }) => line.product,
};

const orderLines = fc.array(fc.record({ product, quantity }), { minLength: 1, maxLength: PRODUCTS });

const createOrderOf = ({ promotions, quotes }: CommandMix) =>
  fc
    .record({
      owner,
      requestId,
      lines: orderLines,
      hasPromotion: fc.constantFrom(false, false, promotions),
      isShipped: fc.constantFrom(false, quotes),
      // Undefined: not checked. Otherwise the difference to the total.
      difference: fc.constantFrom(undefined, ...(quotes ? [undefined, 0, 0, 1] : [])),
      validateOnly: fc.constantFrom(false, false, false, false, false, true),
    })
    .map(
      ({ difference, ...fields }): Template => ({
        text: `CreateOrder ${JSON.stringify({ ...fields, difference })}`,
        choose: ({ anyState }) => {
          const expectedTotal =
            difference === undefined ? undefined : quotedTotal(anyState, fields) + difference;
          return { method: "CreateOrder", ...fields, expectedTotal };
        },
      }),
    );

const quoteOrder = fc
  .record({ lines: orderLines, isShipped: fc.boolean() })
  .map((fields) => template({ method: "QuoteOrder", ...fields }));

const adjustStock = fc
  .record({
    product,
    requestId,
    delta: fc.integer({ min: -MAX_QUANTITY, max: MAX_QUANTITY }).filter((delta) => delta !== 0),
    // Undefined: not checked. Otherwise the difference to the stock.
    difference: fc.constantFrom(undefined, undefined, 0, 0, 1),
  })
  .map(
    ({ difference, ...fields }): Template => ({
      text: `AdjustStock ${JSON.stringify({ ...fields, difference })}`,
      choose: ({ anyState }) => {
        const product = anyState.products[fields.product];
        const stock = product === undefined ? 0 : stockOf(product);
        const expected = difference === undefined ? undefined : stock + difference;
        return { method: "AdjustStock", ...fields, expected };
      },
    }),
  );

const recount = fc
  .record({ product, requestId, onHand: fc.nat({ max: 4 * MAX_QUANTITY }) })
  .map((fields) => template({ method: "Recount", ...fields }));

const importProducts = fc
  .uniqueArray(
    fc.record({
      product,
      stock: fc.option(fc.nat({ max: 2 * MAX_QUANTITY }), { nil: undefined }),
      price: fc.option(fc.integer({ min: 1, max: MAX_PRICE }), { nil: undefined }),
    }),
    byProduct,
  )
  .map(
    (lines): Template => ({
      text: `ImportProducts ${JSON.stringify(lines)}`,
      choose: ({ anyState, writes }) => ({
        method: "ImportProducts",
        requestId: writes.length,
        lines: lines.map((line) => ({
          ...line,
          price: line.price ?? anyState.products[line.product]?.price ?? 1,
        })),
      }),
    }),
  );

const retry = fc.nat().map(
  (index): Template => ({
    text: `the write ${index} again`,
    choose: ({ writes }) => at(writes, index),
  }),
);

const orderRead = (method: "GetOrder" | "ListOrderEvents") =>
  fc.nat().map(
    (index): Template => ({
      text: `${method} ${index}`,
      choose: ({ ids }) => {
        const order = at([...ids.orders.keys()], index);
        return order === undefined ? undefined : { method, order };
      },
    }),
  );
const getProduct = product.map((index) => template({ method: "GetProduct", product: index }));
const listOrders = fc
  .integer({ min: 1, max: CUSTOMERS })
  .map((owner) => template({ method: "ListOrders", owner }));

const reads = [orderRead("GetOrder"), orderRead("ListOrderEvents"), getProduct, listOrders];

/** Returns the arbitrary of calls: single ones, repeated ones and different ones. */
function callsOf(mix: CommandMix): fc.Arbitrary<Calls> {
  const write = fc.oneof(
    { arbitrary: createOrderOf(mix), weight: 8 },
    ...orderChanges,
    { arbitrary: adjustStock, weight: 3 },
    { arbitrary: recount, weight: 1 },
  );
  const single = fc.oneof(
    { arbitrary: write, weight: 6 },
    { arbitrary: importProducts, weight: 1 },
    { arbitrary: retry, weight: 3 },
    { arbitrary: fc.oneof(...reads, ...(mix.quotes ? [quoteOrder] : [])), weight: 2 },
  );
  const one = fc.tuple(single, replica).map(([operation, at]) => new Calls([operation], [at]));
  if (!mix.concurrent) return one;
  const repeated = fc
    .tuple(write, fc.uniqueArray(replica, { minLength: 1 }))
    .map(([operation, replicas]) => new Calls([operation, operation], replicas));
  const several = fc
    .tuple(
      fc.array(fc.oneof({ arbitrary: write, weight: 5 }, { arbitrary: retry, weight: 1 }), {
        minLength: 2,
        maxLength: MAX_CONCURRENT_CALLS,
      }),
      fc.array(replica, { minLength: 1, maxLength: MAX_CONCURRENT_CALLS }),
    )
    .map(([operations, replicas]) => new Calls(operations, replicas));
  return fc.oneof(
    { arbitrary: one, weight: 60 },
    { arbitrary: repeated, weight: 15 },
    { arbitrary: several, weight: 25 },
  );
}

const moment = fc.constantFrom("before", "during", "after");
const cutCommit = fc
  .record({ kind: fc.constant("cut commit"), replica, moment })
  .map((fault) => new Inject(fault));
const killConnections = fc.constant(new Inject({ kind: "kill connections" }));
const killReplica = fc
  .record({
    kind: fc.constant("kill replica"),
    replica,
    moment: fc.constantFrom("immediately", "before", "during", "after"),
  })
  .map((fault) => new Inject(fault));

const killWorker = moment.map((at) => new Inject({ kind: "kill worker", moment: at }));

/** Which commands are generated. Calls have a weight of 100 in all, besides that of the faults. */
export interface CommandMix {
  /** Whether calls are also made concurrently. */
  concurrent: boolean;
  /** Whether orders take part in a promotion with limits. */
  promotions: boolean;
  /** Whether orders are quoted, and some have an address, a shipping option and an expected total. */
  quotes: boolean;
  cutCommit: number;
  killConnections: number;
  killReplica: number;
  killWorker: number;
}

/**
 * Returns the arbitrary of the commands of a run.
 * @param replayPath the commands of a failure that are run again; empty to generate them
 */
export function commandsOf(mix: CommandMix, maxCommands: number, replayPath = "") {
  const command = fc.oneof(
    { arbitrary: callsOf(mix), weight: 100 },
    { arbitrary: cutCommit, weight: mix.cutCommit },
    { arbitrary: killConnections, weight: mix.killConnections },
    { arbitrary: killReplica, weight: mix.killReplica },
    { arbitrary: killWorker, weight: mix.killWorker },
  );
  return fc.commands<ShopModel, ShopRun, false>([command], {
    maxCommands,
    size: "max",
    ...(replayPath === "" ? {} : { replayPath }),
  });
}
