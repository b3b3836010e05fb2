import { Code, ConnectError } from "@connectrpc/connect";
import { onTestFinished } from "vitest";
import type { WatchOrderResponse } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import type { Clients } from "../../shop.ts";

/** A watch of an order as its caller sees it. */
export interface OrderWatcher {
  readonly messages: readonly WatchOrderResponse[];
  /** Sequences of all received events, in the order of their receipt. */
  sequences(): number[];
  /** "OK" or the name of the code with which the watch has ended; undefined before. */
  outcome(): string | undefined;
  cancel(): void;
}

/** Watches an order until the test is finished. */
export function watchOrder({ orders }: Clients, id: string, afterSequence = 0): OrderWatcher {
  const messages: WatchOrderResponse[] = [];
  const cancelling = new AbortController();
  let outcome: string | undefined;
  const receive = async () => {
    const request = { id, afterSequence: BigInt(afterSequence) };
    for await (const message of orders.watchOrder(request, { signal: cancelling.signal }))
      messages.push(message);
  };
  receive().then(
    () => {
      outcome = "OK";
    },
    (error: unknown) => {
      outcome = Code[ConnectError.from(error).code];
    },
  );
  onTestFinished(() => cancelling.abort());
  return {
    messages,
    sequences: () => messages.flatMap(({ events }) => events.map(({ sequence }) => Number(sequence))),
    outcome: () => outcome,
    cancel: () => cancelling.abort(),
  };
}

/** Returns the numbers from 1 to `last`. */
export const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1);
