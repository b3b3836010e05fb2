import { randomUUID } from "node:crypto";
import type { Order } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import type { TestShop } from "../shop.ts";

const newId = createIds();

/** What differs of a payment. Amounts are minor units. */
export interface CapturedPayment {
  gateway?: "stripe" | "sandbox";
  /** Defaults to the total of the order. */
  captured?: bigint;
  disputed?: bigint;
}

/** Inserts a payment of an order whose money a gateway has captured. Returns its id. */
export async function insertCapturedPayment(
  { database }: Pick<TestShop, "database">,
  { id: orderId, totalPrice }: Pick<Order, "id" | "totalPrice">,
  { gateway = "stripe", captured = totalPrice?.minorUnits ?? 0n, disputed = 0n }: CapturedPayment = {},
): Promise<string> {
  const id = newId();
  const [amount, currency, reference] = [captured.toString(), totalPrice?.currencyCode, `pi_${id}`];
  const now = new Date();
  await database.query(
    `insert into payment (
       id, order_id, gateway, reference, amount_minor, currency, capture, step, state, is_open, authorized_minor,
       captured_minor, disputed_minor, request_id, created_at, updated_at
     ) values ($1, $2, $3, $4, $5, $6, 'AT_ORDER', 'PENDING', 'CAPTURED', false, $5, $5, $7, $8, $9, $9)`,
    [id, orderId, gateway, reference, amount, currency, disputed.toString(), randomUUID(), now],
  );
  const entries = [
    { type: "AUTHORIZED", reference, minor: amount },
    { type: "CAPTURED", reference: `ch_${id}`, minor: amount },
    ...(disputed > 0n ? [{ type: "DISPUTED", reference: `dp_${id}`, minor: disputed.toString() }] : []),
  ];
  for (const entry of entries) {
    await database.query(
      `insert into ledger_entry (
         id, order_id, payment_id, gateway, type, reference, amount_minor, currency, source, created_at
       ) values ($1, $2, $3, $4, $5, $6, $7, $8, 'WEBHOOK', $9)`,
      [newId(), orderId, id, gateway, entry.type, entry.reference, entry.minor, currency, now],
    );
  }
  await database.query(
    `with paid as (
       update orders set payment_state = 'PAID', paid_minor = paid_minor + $2, version = version + 1, updated_at = $4
       where id = $1 returning *
     )
     insert into order_event (
       order_id, sequence, type, actor, reason, payment_state, fulfillment_state, closing, details, created_at
     )
     select id, version, 'PAID', 'SYSTEM', '', payment_state, fulfillment_state, closing,
       jsonb_build_object('amount', $2::text, 'paymentId', $3::text), $4
     from paid`,
    [orderId, amount, id, now],
  );
  return id;
}
