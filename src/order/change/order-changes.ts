import type { Topic } from "../../infra/outbox/topic.ts";

/** A change of an order. */
export interface OrderChanged {
  orderId: string;
  /** Sequence of the event that records the change. */
  sequence: number;
}

/** The changes of orders, except that they were placed. */
export const orderChanges: Topic<OrderChanged[]> = { name: "order-changes" };
