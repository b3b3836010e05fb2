import type { CommitMoment } from "../../stores/commit-proxy.ts";
import type { OrderContent } from "./model-order.ts";
import type { ModelProduct, ModelState } from "./model-state.ts";
import type { KnownIds, Observation, Operation } from "./operation.ts";

/** A fault of the service or of its connections to PostgreSQL. */
export type Fault =
  | { kind: "cut commit"; replica: number; moment: CommitMoment }
  | { kind: "kill connections" }
  | { kind: "kill replica"; replica: number; moment: "immediately" | CommitMoment }
  /** The worker runs in the process of the test: it is abandoned in its round, and its connections end. */
  | { kind: "kill worker"; moment: CommitMoment };

/** The shop of one run: new products, customers and request_ids, at replicas that faults affect. */
export interface ShopRun {
  /** The state at the start. */
  readonly state: ModelState;
  /**
   * Calls the shop.
   * @param replica index of the replica; another one is used while it is down
   * @param ids ids of the acknowledged orders and shipments
   */
  call(operation: Operation, replica: number, ids: KnownIds): Promise<Observation>;
  /** Injects a fault; one at a moment of a COMMIT occurs at the next one. */
  inject(fault: Fault): Promise<void>;
  /** Returns whether a fault was injected in this run. */
  hasFaults(): boolean;
  /** Returns the faults that have occurred in this run. One at a moment of a COMMIT occurs only if there is one. */
  occurredFaults(): readonly Fault[];
  /** Ends the faults that have not occurred yet. */
  endFaults(): Promise<void>;
  /**
   * Runs workers until no expiry is due.
   * @throws Error if there are still some after many rounds
   */
  completeExpiries(): Promise<void>;
  /** Returns the products and orders in the database, in the form of the model. */
  readStored(): Promise<StoredShop>;
}

/** What the database contains of a run. */
export interface StoredShop {
  products: ModelProduct[];
  /** Orders with products of the run, by `orderKey`; several orders of one key are a list with more than one. */
  orders: Record<string, StoredOrder[]>;
}

/** An order as it is stored. */
export interface StoredOrder extends OrderContent {
  id: string;
}
