import { isDeepStrictEqual } from "node:util";
import { type ModelState, step } from "./model-state.ts";
import {
  isWrite,
  type Observation,
  type Operation,
  type Outcome,
  orderKey,
  type Write,
} from "./operation.ts";

/** The shop did what the model does not allow. */
export class ModelViolation extends Error {}

/** A call and what its caller has seen. */
export interface ObservedCall {
  operation: Operation;
  observation: Observation;
}

/**
 * The states that the shop can be in after the calls so far. A call without a response is in doubt: it has taken
 * effect, or still may, until a call with the same request_id has a response.
 */
export class ShopModel {
  #states: readonly ModelState[];
  #inDoubt: readonly Write[] = [];
  /** Ids of orders by `orderKey`. */
  readonly #ids = new Map<string, string>();
  /** The first response for each acknowledged order. */
  readonly #responses = new Map<string, string>();
  readonly #writes: Write[] = [];

  constructor(state: ModelState) {
    this.#states = [state];
  }

  /** The writes that were called so far, in the order of their calls. */
  get writes(): readonly Write[] {
    return this.#writes;
  }

  /** The writes without a response. */
  get inDoubt(): readonly Write[] {
    return this.#inDoubt;
  }

  /** The ids of the acknowledged orders by their key. */
  get ids(): ReadonlyMap<string, string> {
    return this.#ids;
  }

  /** One of the possible states, for the choice of the next operation. */
  get anyState(): ModelState {
    const [state] = this.#states;
    if (state === undefined) throw new Error("no state is possible");
    return state;
  }

  /**
   * Records calls that were made concurrently: in some order, each must have had its effect and outcome.
   * @throws ModelViolation if the model does not allow the observations
   */
  observe(calls: readonly ObservedCall[]): void {
    const known: [Operation, Outcome][] = [];
    for (const { operation, observation } of calls) {
      if (isWrite(operation)) this.#writes.push(operation);
      this.#bindOrder(operation, observation);
      if (observation.outcome !== undefined) known.push([operation, observation.outcome]);
      else if (isWrite(operation) && !this.#isInDoubt(operation))
        this.#inDoubt = [...this.#inDoubt, operation];
    }
    // A change that is not acknowledged may be missing from cached responses, although it is committed.
    const checked = known.filter(([{ method }]) => method !== "GetProduct" || this.#inDoubt.length === 0);
    const states = this.#linearize(this.#states, checked);
    if (states.length === 0) throw new ModelViolation(this.#explain(known));
    this.#states = states;
    this.#inDoubt = this.#inDoubt.filter(
      (write) => !known.some(([operation]) => isDeepStrictEqual(operation, write)),
    );
  }

  /** @throws ModelViolation unless a predicate holds for a possible state. */
  assertSome(holds: (state: ModelState) => boolean, describe: () => string): void {
    this.#states = this.#expand(this.#states).filter(holds);
    if (this.#states.length === 0) throw new ModelViolation(describe());
  }

  toString(): string {
    return JSON.stringify({ states: this.#states, inDoubt: this.#inDoubt });
  }

  #isInDoubt(write: Write): boolean {
    return this.#inDoubt.some((other) => isDeepStrictEqual(other, write));
  }

  #bindOrder(operation: Operation, { orderId, response }: Observation): void {
    if (operation.method !== "CreateOrder" || operation.validateOnly || orderId === undefined) return;
    const key = orderKey(operation);
    const [id, first] = [this.#ids.get(key) ?? orderId, this.#responses.get(key) ?? response ?? ""];
    this.#ids.set(key, id);
    this.#responses.set(key, first);
    if (id !== orderId)
      throw new ModelViolation(`the request ${key} created the orders ${id} and ${orderId}`);
    if (first !== response) throw new ModelViolation(`a replay of ${key} differs from the first response`);
  }

  /** Returns the states after all calls, in any order that explains their outcomes. */
  #linearize(states: readonly ModelState[], calls: readonly [Operation, Outcome][]): readonly ModelState[] {
    const before = this.#expand(states);
    if (calls.length === 0) return before;
    const after: ModelState[] = [];
    for (const [index, [operation, outcome]] of calls.entries()) {
      const explained = before
        .map((state) => this.#step(state, operation))
        .filter((next) => isDeepStrictEqual(next.outcome, outcome));
      if (explained.length === 0) continue;
      const rest = calls.toSpliced(index, 1);
      after.push(...this.#linearize(distinct(explained.map(({ state }) => state)), rest));
    }
    return distinct(after);
  }

  /** Adds the states in which calls in doubt have taken effect. */
  #expand(states: readonly ModelState[]): readonly ModelState[] {
    const all = new Map(states.map((state) => [JSON.stringify(state), state]));
    const added = [...states];
    for (let state = added.pop(); state !== undefined; state = added.pop()) {
      for (const write of this.#inDoubt) {
        const { state: next } = this.#step(state, write);
        const key = JSON.stringify(next);
        if (all.has(key)) continue;
        all.set(key, next);
        added.push(next);
      }
    }
    return [...all.values()];
  }

  #step(state: ModelState, operation: Operation) {
    return step(state, operation, (key) => this.#ids.has(key));
  }

  #explain(calls: readonly [Operation, Outcome][]): string {
    const lines = calls.map(([operation, outcome]) => {
      const allowed = this.#states.map((state) => JSON.stringify(this.#step(state, operation).outcome));
      return `${JSON.stringify(operation)} returned ${JSON.stringify(outcome)}; by itself it should return ${[...new Set(allowed)].join(" or ")}`;
    });
    return `No state of the model explains these calls:\n${lines.join("\n")}\nModel: ${this}`;
  }
}

function distinct(states: readonly ModelState[]): readonly ModelState[] {
  return [...new Map(states.map((state) => [JSON.stringify(state), state])).values()];
}
