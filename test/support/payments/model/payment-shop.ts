/** What a call returned: OK, or the reason of its rejection. */
export type Reply = string;

/** What is refunded: a unit of an item by its index, an amount in minor units, or all of the shipping. */
export type Refunded =
  | { kind: "unit"; item: number }
  | { kind: "amount"; amount: number }
  | { kind: "shipping" };

/** Units of a product of the run, by its index. */
export interface Line {
  product: number;
  quantity: number;
}

/** A payment as the shop has stored it. Amounts are in minor units. */
export interface StoredPayment {
  id: string;
  state: string;
  authorized: number;
  captured: number;
  refunded: number;
  /** The refunds that the shop has requested and that have not failed. */
  requested: number;
}

/** A refund as the shop has stored it. */
export interface StoredRefund {
  amount: number;
  /** The shares of the items and of the shipping. */
  shares: readonly number[];
}

/** An order as the shop has stored it. */
export interface StoredOrder {
  id: string;
  closing: string;
  /** What it costs without its cancelled units. */
  cost: number;
  paid: number;
  refunded: number;
  paymentState: string;
  /** Units of each item. */
  quantities: readonly number[];
  shipments: number;
  /** Whether all units that are not cancelled are shipped. */
  isShipped: boolean;
  payments: readonly StoredPayment[];
  refunds: readonly StoredRefund[];
}

/** A shop whose orders are paid by an unreliable gateway. Jobs and loops run only when a run of the model lets them. */
export interface PaymentShop {
  place(lines: readonly Line[], isShipped: boolean): Promise<string>;
  /** Creates a payment of an order with the token of a payment method. */
  pay(orderId: string, token: string): Promise<Reply>;
  /** Confirms the newest payment of an order, after the second step or with another payment method. */
  confirm(orderId: string, token: string): Promise<Reply>;
  /** Ships one open unit of an order, or all of them. */
  ship(orderId: string, isAll: boolean): Promise<Reply>;
  cancel(orderId: string): Promise<Reply>;
  refund(orderId: string, refunded: Refunded): Promise<Reply>;
  /** Lets the expire time of an order pass, and runs the expiry of orders once. */
  expire(orderId: string): Promise<void>;
  /** Receives a webhook. */
  receive(body: Buffer): Promise<void>;
  /** Runs each waiting job once. @returns the number of jobs that are left */
  runJobs(): Promise<number>;
  /** Queries the gateway about all payments in doubt and those that are settled. */
  reconcile(): Promise<void>;
  /** Returns the orders of the run. */
  read(): Promise<StoredOrder[]>;
  /** Returns what violates the invariants of the database. */
  findViolations(): Promise<object[]>;
}
