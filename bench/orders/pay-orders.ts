import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { PaymentState } from "../../gen/cartwright/payment/v1/payment_pb.ts";
import { PaymentService } from "../../gen/cartwright/payment/v1/payment_service_pb.ts";
import { StartupError } from "../../src/kernel/errors.ts";
import { withClient } from "../harness/databases.ts";
import { decodeResponse, encodeRequest, type GrpcClient } from "../harness/grpc-client.ts";
import { CREATE_ORDER, createOrderMessages } from "../load/order-messages.ts";

const { createPayment } = PaymentService.method;
const POLL_MS = 20;
const MAX_DRAIN_MS = 60_000;

/** What callers saw who place orders and pay them. */
export interface PaidOrders {
  /** Times from the call of CreateOrder to the response of CreatePayment, in milliseconds. */
  ms: number[];
  /** Time to the last response and until all webhooks were applied. */
  seconds: number;
  /** Time from the last response until all webhooks were applied. */
  drainMs: number;
}

/** The settings of a run. */
export interface PayOptions {
  client: GrpcClient;
  databaseUrl: string;
  /** The numbers of all products and customers. */
  products: number;
  customers: number;
  callers: number;
  seconds: number;
}

/**
 * Places orders and creates their payments in the sandbox in a closed loop, then waits until all webhooks were applied.
 * @throws StartupError when an order is not paid, or webhooks are not applied in time
 */
export async function payOrders(options: PayOptions): Promise<PaidOrders> {
  const { client, databaseUrl, products, customers, callers, seconds } = options;
  const nextOrder = createOrderMessages({ products, customers, hotProduct: undefined });
  const before = await countPaid(databaseUrl);
  const ms: number[] = [];
  const startMs = performance.now();
  const caller = async () => {
    while (performance.now() - startMs < seconds * 1_000) {
      const sentMs = performance.now();
      await payOrder(client, nextOrder());
      ms.push(performance.now() - sentMs);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const endMs = performance.now();
  await untilWebhooksApplied(databaseUrl);
  const appliedMs = performance.now();
  const paid = (await countPaid(databaseUrl)) - before;
  if (paid !== ms.length) throw new StartupError(`${ms.length} orders were paid, and ${paid} are recorded.`);
  return { ms, seconds: (appliedMs - startMs) / 1_000, drainMs: appliedMs - endMs };
}

async function payOrder(client: GrpcClient, orderMessage: Uint8Array): Promise<void> {
  const creation = {
    path: `/${CREATE_ORDER.parent.typeName}/${CREATE_ORDER.name}`,
    frame: Buffer.from(orderMessage),
    output: CREATE_ORDER.output,
  };
  const { order } = decodeResponse(creation, await client.call(creation));
  const request = encodeRequest(createPayment, {
    payment: { orderId: order?.id ?? "" },
    requestId: randomUUID(),
    paymentMethod: "sandbox_ok",
  });
  const { payment } = decodeResponse(request, await client.call(request));
  if (payment?.state !== PaymentState.CAPTURED) {
    throw new StartupError(`Payment ${payment?.id} has the state ${payment?.state}, not CAPTURED.`);
  }
}

/** Returns the orders that are confirmed and paid, by their ledger too, with a webhook of each that was applied. */
function countPaid(databaseUrl: string): Promise<number> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ orders: number; entries: number; webhooks: number }>(`
      select
        (select count(*)::int from orders join payment on order_id = orders.id
          where orders.state = 'CONFIRMED' and payment_state = 'PAID' and gateway = 'sandbox'
            and paid_minor = total_minor and captured_minor = total_minor) as orders,
        (select count(*)::int from ledger_entry where gateway = 'sandbox' and type = 'CAPTURED') as entries,
        (select count(distinct event_id)::int from webhook_event where outcome = 'APPLIED') as webhooks`);
    const { orders, entries, webhooks } = rows[0] ?? { orders: 0, entries: 0, webhooks: 0 };
    if (orders === entries && webhooks >= orders) return orders;
    throw new StartupError(
      `${orders} orders are paid, with ${entries} entries of the ledger and ${webhooks} webhooks.`,
    );
  });
}

/** @throws StartupError when they are not applied in time */
async function untilWebhooksApplied(databaseUrl: string): Promise<void> {
  await withClient(databaseUrl, async (client) => {
    const endMs = performance.now() + MAX_DRAIN_MS;
    for (;;) {
      const { rows } = await client.query(`
        select from sandbox_event
        union all select from webhook_event where processed_at is null limit 1`);
      if (rows.length === 0) return;
      if (performance.now() > endMs) {
        throw new StartupError(`Webhooks are not applied after ${MAX_DRAIN_MS / 1_000} s.`);
      }
      await delay(POLL_MS);
    }
  });
}
