import { createCatalog } from "../../../catalog/catalog.ts";
import { openJobs } from "../../../infra/jobs/jobs.ts";
import type { PaymentGateway } from "../../../infra/payment/payment-gateway.ts";
import { toStripeAmount } from "../../../infra/payment/stripe/stripe-amount.ts";
import type { Database } from "../../../infra/postgres/postgres.ts";
import { createInventory } from "../../../inventory/inventory.ts";
import { type Call, internalCall } from "../../../kernel/call.ts";
import type { Clock } from "../../../kernel/clock.ts";
import type { Ids } from "../../../kernel/ids.ts";
import type { Log } from "../../../kernel/log.ts";
import type { PageTokens } from "../../../kernel/page.ts";
import { createOrderTokens } from "../../../order/guest/order-token.ts";
import { readOrderTokenKeys } from "../../../order/guest/order-token-keys.ts";
import type { EnqueueRequests } from "../../../order/ledger/insert-requests.ts";
import { createEnqueueRequests } from "../../../order/payment/request/request-rows.ts";
import type { Refund } from "../../../order/refund/list-refunds.ts";
import type { RefundRequest } from "../../../order/refund/refund-order.ts";
import { createRefunds } from "../../../order/refund/refunds.ts";
import { createTracker } from "../../../tracker/tracker.ts";
import type { AdminResult } from "../admin-result.ts";
import { formatMoney } from "./format-money.ts";
import type { RefundCommand } from "./payments-options.ts";

/** Checks the amounts of refunds by Stripe, without access to it. The sandbox refunds all amounts. */
const STRIPE: Pick<PaymentGateway, "name" | "assertChargeable"> = {
  name: "stripe",
  assertChargeable: (amount) => void toStripeAmount(amount),
};

/** Dependencies of refunding. */
export interface RefundCommandOptions {
  db: Database;
  clock: Clock;
  ids: Ids;
  tokens: PageTokens;
  log: Log;
  /** Address of the database, for the queue of the requests to the gateway. */
  url: string;
}

/**
 * Refunds an amount or the shipping of an order. A running service or worker sends the request to the gateway; a refund of
 * a payment by hand is recorded.
 * @throws AppError as `refundOrder` does
 */
export async function refundPayment(
  call: Call,
  options: RefundCommandOptions,
  command: RefundCommand,
): Promise<AdminResult> {
  return withRequests(options, async (enqueueRequests) => {
    const { clock } = options;
    const inventory = createInventory({ clock });
    const refunds = createRefunds({
      ...options,
      gateway: STRIPE,
      inventory,
      catalog: createCatalog({ ...options, inventory }),
      tracker: createTracker(options),
      orderTokens: createOrderTokens(await readOrderTokenKeys(options.db, internalCall())),
      enqueueRequests,
    });
    const { refund } = await refunds.refund(call, requestOf(command), command);
    return { message: describe(refund, command.validateOnly), output: sharesOf(refund).join("\n") };
  });
}

/** Runs work that enqueues requests to the gateway. */
export async function withRequests<Result>(
  { url, ids, log }: Pick<RefundCommandOptions, "url" | "ids" | "log">,
  work: (enqueueRequests: EnqueueRequests) => Promise<Result>,
): Promise<Result> {
  const jobs = await openJobs({ url, workers: 0, ids, log });
  try {
    return await work(createEnqueueRequests(jobs));
  } finally {
    await jobs.close();
  }
}

function requestOf({
  order: id,
  amount,
  payment: paymentId,
  reason,
  reference,
}: RefundCommand): RefundRequest {
  const selection: RefundRequest["selection"] =
    amount === undefined
      ? { kind: "SHIPPING" }
      : { kind: "AMOUNT", amount: { ...amount, minorUnits: BigInt(amount.minorUnits) } };
  return { id, etag: "", selection, returnItems: false, restock: false, reason, paymentId, reference };
}

function describe({ id, state, amount, paymentId }: Refund, validateOnly: boolean): string {
  const subject = `${formatMoney(amount)} of payment ${paymentId}. Amounts are minor units; by item, shipping last:`;
  if (validateOnly) return `Nothing was refunded. The refund would be ${subject}`;
  return state === "SUCCEEDED"
    ? `Recorded refund ${id} of ${subject}`
    : `Requested refund ${id}, which a running service or worker sends to the gateway: ${subject}`;
}

/** Returns a line for each share: item, amount, tax. */
function sharesOf({ lines, shippingAmount, shippingTax }: Refund): string[] {
  return [
    ...lines.map(({ itemId, amount, tax }) => [itemId, formatMoney(amount), formatMoney(tax)].join("  ")),
    ["shipping", formatMoney(shippingAmount), formatMoney(shippingTax)].join("  "),
  ];
}
