import type { NegativeControl } from "./negative-control.ts";

/** Returns a statement that inserts an entry of a payment. */
const entry = (payment: string, type: string, orderId = "order_id") => `
  insert into ledger_entry (id, order_id, payment_id, gateway, type, reference, amount_minor, currency, source, created_at)
  select gen_random_uuid(), ${orderId}, id, gateway, '${type}', 'other', 1, currency, 'WEBHOOK', now()
  from payment where id = ':${payment}'`;

/** Returns a statement that inserts a request, with the id of the product, for `:payment`. */
const request = (kind: string, state: string) => `
  insert into payment_request (id, payment_id, order_id, kind, amount_minor, state, created_at, updated_at)
  select ':product', id, order_id, '${kind}', ${kind === "CANCEL" ? "null" : "1"}, '${state}', now(), now()
  from payment where id = ':payment'`;

/** Returns a statement that inserts a refund of 5 minor units, with the id of the product, of a payment. */
const refund = (payment: string, state: string) => `
  insert into refund (id, order_id, payment_id, kind, amount_minor, state, actor, created_at, completed_at)
  select ':product', order_id, id, 'AMOUNT', 5, '${state}', 'SYSTEM', now(), case when '${state}' <> 'PENDING' then now() end
  from payment where id = ':${payment}'`;

/** Returns a statement that inserts a discrepancy, with the id of the product. */
const discrepancy = (kind: string, createdAt: string) => `
  insert into payment_discrepancy (id, kind, gateway, reference, description, created_at)
  values (':product', '${kind}', 'sandbox', 'sp_1', 'One.', ${createdAt})`;

const AUTHORIZED = "update payment set state = 'AUTHORIZED', authorized_minor = 1";
const OF_GATEWAY = "update payment set gateway = 'sandbox'";
const WITHOUT_MONEY = "update payment set captured_minor = 0, state = 'PENDING' where id = ':payment'";

/** Negative controls of the checks of payments. `:payment` and `:released` are those by hand of `:order` and `:cancelled`. */
export const paymentControls: readonly NegativeControl[] = [
  ["ledger-orders", "orders/:order", "update orders set paid_minor = 1 where id = ':order'"],
  ["ledger-orders", "orders/:order", "update orders set refunded_minor = 1 where id = ':order'"],
  ["ledger-orders", "orders/:order", "update orders set payment_state = 'FAILED' where id = ':order'"],
  ["ledger-orders", "orders/:held", "update orders set payment_state = 'PAID' where id = ':held'"],
  ["ledger-orders", "orders/:order", entry("payment", "CAPTURED")],
  ["ledger-orders", "orders/:order", entry("payment", "REFUNDED")],
  ["ledger-orders", "orders/:order", entry("payment", "DISPUTE_LOST")],
  ["ledger-payments", "payments/:payment", entry("payment", "AUTHORIZED")],
  ["ledger-payments", "payments/:payment", entry("payment", "CAPTURED")],
  ["ledger-payments", "payments/:payment", entry("payment", "REFUNDED")],
  ["ledger-payments", "payments/:payment", entry("payment", "DISPUTED")],
  ["ledger-payments", "payments/:payment", entry("payment", "DISPUTE_LOST")],
  ["ledger-payments", "payments/:payment", WITHOUT_MONEY],
  ["ledger-payments", "payments/:payment", `${AUTHORIZED} where id = ':payment'`],
  ["ledger-payments", "payments/:payment", "update payment set is_open = true where id = ':payment'"],
  ["ledger-payments", "payments/:payment", entry("payment", "CAPTURE_FAILED", "':held'")],
  ["ledger-payments", "payments/:payment", `${OF_GATEWAY} where id = ':payment'`],
  ["refunds-within-captured", "payments/:payment", refund("payment", "PENDING")],
  [
    "refunds-within-captured",
    "payments/:payment",
    "update payment set requested_refund_minor = 1 where id = ':payment'",
  ],
  [
    "refunds-within-captured",
    "payments/:payment",
    "alter table payment drop constraint payment_refunds_within_captured",
    refund("payment", "PENDING"),
    "update payment set requested_refund_minor = 5, captured_minor = 4 where id = ':payment'",
  ],
  ["refund-shares", "refunds/:product", refund("payment", "PENDING")],
  [
    "refund-shares",
    "refunds/:product",
    refund("payment", "PENDING"),
    "insert into refund_line values (':product', 1, 1, 4, 0)",
  ],
  [
    "refund-shares",
    "payments/:payment",
    refund("payment", "PENDING"),
    "insert into refund_line values (':product', 1, 3, 5, 0)",
  ],
  ["payment-requests", "payment-requests/:product", request("CAPTURE", "OPEN")],
  [
    "payment-requests",
    "payment-requests/:product",
    request("CANCEL", "OPEN"),
    `insert into pgboss.job (name, data, state) values ('invalidation', '{"requestId": ":product"}', 'created')`,
  ],
  ["payment-requests", "payment-requests/:product", request("CAPTURE", "DONE"), entry("payment", "CAPTURED")],
  [
    "payment-requests",
    "payment-requests/:product",
    refund("payment", "PENDING"),
    request("REFUND", "FAILED"),
  ],
  ["payment-requests", "payment-requests/:product", request("REFUND", "DEAD")],
  [
    "payment-requests",
    "refunds/:product",
    refund("released", "PENDING"),
    `${OF_GATEWAY} where id = ':released'`,
  ],
  ["payment-requests", "refunds/:product", refund("payment", "SUCCEEDED")],
  [
    "ledger-discrepancies",
    "ledger-discrepancies/:product",
    discrepancy("OVERPAID", "now() - interval '25 hours'"),
  ],
  ["ledger-discrepancies", "ledger-discrepancies/:product", discrepancy("CAPTURED_MISMATCH", "now()")],
  ["ledger-discrepancies", "ledger-discrepancies/:product", discrepancy("REFUNDED_MISMATCH", "now()")],
  [
    "webhook-events",
    "webhook-events/sandbox/se_1",
    "insert into webhook_event (gateway, event_id, type, body, received_at, retry_at) values ('sandbox', 'se_1', '', '', now() - interval '11 minutes', now())",
  ],
  [
    "authorizations",
    "payments/:payment",
    `${AUTHORIZED}, capture_before = now() - interval '1 minute' where id = ':payment'`,
  ],
  ["late-money", "payments/:released", `${OF_GATEWAY} where id = ':released'`],
  [
    "late-money",
    "payments/:released",
    `${OF_GATEWAY} where id = ':released'`,
    discrepancy("AMOUNT_CONFLICT", "now()"),
    "update payment_discrepancy set payment_id = ':released', resolved_at = now() where id = ':product'",
  ],
  [
    "late-money",
    "payments/:released",
    entry("released", "AUTHORIZED").replace(", 1, currency", ", 100000, currency"),
    `${OF_GATEWAY}, requested_refund_minor = captured_minor where id = ':released'`,
  ],
  [
    "references",
    "payments/:payment",
    "alter table payment drop constraint payment_order_id_fk",
    "update payment set order_id = ':product' where id = ':payment'",
  ],
  [
    "references",
    "payment-requests/:product",
    "alter table payment_request drop constraint payment_request_payment_id_fk",
    request("CAPTURE", "OPEN"),
    "update payment_request set payment_id = ':product'",
  ],
  [
    "references",
    "refunds/:product",
    "alter table refund drop constraint refund_payment_id_fk",
    refund("payment", "PENDING"),
    "update refund set payment_id = ':product'",
  ],
  [
    "references",
    "refunds/:product",
    "alter table refund_line drop constraint refund_line_refund_id_fk",
    "insert into refund_line values (':product', 1, 1, 4, 0)",
  ],
  [
    "references",
    "ledger-entries/:product",
    "alter table ledger_entry drop constraint ledger_entry_payment_id_fk",
    "insert into ledger_entry values (':product', ':order', ':product', 'manual', 'CAPTURED', 'one', 1, 'EUR', null, 'STAFF', '', null, now())",
  ],
];
