import { ConnectError } from "@connectrpc/connect";
import { type OrderTotal, OrderTotalTypeSchema } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { type Quote, QuoteSchema } from "../../../gen/cartwright/order/v1/quote_pb.ts";

/** Returns the amounts of totals by the names of their types. */
export function amountsOf(totals: readonly OrderTotal[]): Record<string, bigint | undefined> {
  return Object.fromEntries(
    totals.map(({ type, amount }) => [OrderTotalTypeSchema.value[type]?.localName, amount?.minorUnits]),
  );
}

/** Awaits a call that must fail, and returns the quotes among the details of its error. */
export async function quotesOf(call: Promise<unknown>): Promise<Quote[]> {
  const error = await call.then(
    () => new ConnectError("the call succeeded"),
    (reason: unknown) => ConnectError.from(reason),
  );
  return error.findDetails(QuoteSchema);
}
