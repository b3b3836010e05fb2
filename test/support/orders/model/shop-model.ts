import { isDeepStrictEqual } from "node:util";
import { progressExpiries } from "./change-order.ts";
import type { ModelState } from "./model-state.ts";
import {
  isWrite,
  type KnownIds,
  type Observation,
  type Operation,
  type Outcome,
  orderKey,
  requestKey,
  type Write,
} from "./operation.ts";
import { step } from "./step.ts";

/** The shop did what the model does not allow. */
export class ModelViolation extends Error {}

/** A call and what its caller has seen. */
export interface ObservedCall {
  operation: Operation;
  observation: Observation;
}

/**
 * The states that the shop can be in after the calls so far. A call without a response is in doubt: it has taken
 * effect, or still may, until a call with the same request_id has a response. Workers continue expiries at any time.
 */
export class ShopModel {
  #states: readonly ModelState[];
  #inDoubt: readonly Write[] = [];
  readonly #orderIds = new Map<string, string>();
  readonly #shipmentIds = new Map<number, string>();
  /** The first response of each acknowledged request, by `requestKey`. */
  readonly #responses = new Map<string, Pick<Observation, "createdId" | "response">>();
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

  /** The ids of the acknowledged orders and shipments. */
  get ids(): KnownIds {
    return { orders: this.#orderIds, shipments: this.#shipmentIds };
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
      this.#bindResponse(operation, observation);
      if (observation.outcome !== undefined) known.push([operation, observation.outcome]);
      else if (isWrite(operation) && !this.#isInDoubt(operation))
        this.#inDoubt = [...this.#inDoubt, operation];
    }
    // A change that is not acknowledged may be missing from cached responses, although it is committed.
    const isAcknowledged = this.#inDoubt.length === 0 && !this.#hasExpiries();
    const checked = known.filter(([{ method }]) => method !== "GetProduct" || isAcknowledged);
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

  #bindResponse(operation: Operation, { outcome, createdId, response }: Observation): void {
    const key = isWrite(operation) ? requestKey(operation) : undefined;
    if (key === undefined || response === undefined || outcome?.code !== "OK") return;
    const first = this.#responses.get(key);
    if (first === undefined) {
      this.#responses.set(key, { createdId, response });
      if (operation.method === "CreateOrder") this.#orderIds.set(orderKey(operation), createdId ?? "");
      if (operation.method === "ShipOrder") this.#shipmentIds.set(operation.requestId, createdId ?? "");
      return;
    }
    if (first.createdId !== createdId)
      throw new ModelViolation(`the request ${key} created ${first.createdId} and ${createdId}`);
    if (first.response !== response)
      throw new ModelViolation(`a replay of ${key} differs from the first response`);
  }

  /** Returns whether workers may have expired orders in this run. */
  #hasExpiries(): boolean {
    return this.#writes.some(({ method }) => method === "PassExpireTime");
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

  /** Adds the states in which calls in doubt have taken effect, and those in which workers have gone on with expiries. */
  #expand(states: readonly ModelState[]): readonly ModelState[] {
    const all = new Map(states.map((state) => [textOf(state), state]));
    const added = [...states];
    for (let state = added.pop(); state !== undefined; state = added.pop()) {
      const written = this.#inDoubt.map((write) => this.#step(state, write).state);
      for (const next of [...written, ...progressExpiries(state)]) {
        const key = textOf(next);
        if (all.has(key)) continue;
        all.set(key, next);
        added.push(next);
      }
    }
    return [...all.values()];
  }

  #step(state: ModelState, operation: Operation) {
    return step(state, operation, (key) => this.#orderIds.has(key));
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
  return [...new Map(states.map((state) => [textOf(state), state])).values()];
}

/** Texts of states, which never change. Calls in doubt make many states, which are compared often. */
const texts = new WeakMap<ModelState, string>();

function textOf(state: ModelState): string {
  const known = texts.get(state);
  if (known !== undefined) return known;
  const text = JSON.stringify(state);
  texts.set(state, text);
  return text;
}
