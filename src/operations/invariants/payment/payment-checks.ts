import type { Check } from "../check.ts";
import { ORDER_MONEY, PAYMENT_MONEY } from "./payment-money.ts";

/** The entries that state what became of a request of the service. */
const REQUEST_ENTRIES = `
  select coalesce(request_id::text, reference) as request, gateway, type from ledger_entry
  where type in ('CAPTURED', 'CAPTURE_FAILED', 'REFUNDED', 'REFUND_FAILED')`;

/** Checks of payments, of their ledger and of refunds. */
export const paymentChecks: readonly Check[] = [
  {
    name: "ledger-orders",
    invariant: "I11",
    description:
      "The paid amount, the refunded amount and the payment state of an order follow from the ledger of its payments. An order of which nothing is due is paid until money moves.",
    query: `
      with ${PAYMENT_MONEY}, ${ORDER_MONEY},
      cancelled as (
        select order_id, sum(
          cancelled_quantity * unit_minor
            + case when is_tax_included then 0 else order_item.tax_minor * cancelled_quantity / nullif(quantity, 0) end
        ) as minor
        from order_item join orders on id = order_id group by order_id
      )
      select 'orders/' || id as resource, paid_minor, captured as ledger_paid, refunded_minor, returned as ledger_refunded,
        payment_state, order_money.state as ledger_state
      from orders left join order_money on order_money.order_id = id left join cancelled on cancelled.order_id = id
      where paid_minor <> coalesce(captured, 0) or refunded_minor <> coalesce(returned, 0)
        or payment_state <> coalesce(order_money.state, 'UNPAID')
          and not (payment_state = 'PAID' and coalesce(captured, 0) = 0 and coalesce(returned, 0) = 0
            and total_minor <= minor)`,
  },
  {
    name: "ledger-payments",
    invariant: "I11",
    description:
      "The amounts and the state of a payment follow from its entries, which are of its gateway and its order. A payment without a decision is the only open one.",
    query: `
      with ${PAYMENT_MONEY}
      select 'payments/' || id as resource, payment.state, payment.is_open, money.state as ledger_state,
        authorized_minor, authorized as ledger_authorized, captured_minor, captured as ledger_captured,
        refunded_minor, refunded as ledger_refunded, disputed_minor, disputed as ledger_disputed,
        lost_minor, lost as ledger_lost, is_foreign
      from payment join payment_money as money on payment_id = id
      where (authorized_minor, captured_minor, refunded_minor, disputed_minor, lost_minor)
          <> (authorized, captured, refunded, disputed, lost)
        or payment.state <> money.state
        or is_open and payment.state in ('FAILED', 'CANCELLED', 'CAPTURED')
        or is_foreign`,
  },
  {
    name: "refunds-within-captured",
    invariant: "I11",
    description:
      "The requested refunds of a payment are those of its refunds that have not failed, and at most what was captured.",
    query: `
      with requested as (
        select payment_id, sum(amount_minor) filter (where state <> 'FAILED') as minor from refund group by payment_id
      )
      select 'payments/' || id as resource, captured_minor, requested_refund_minor, minor as refunds_minor
      from payment left join requested on payment_id = id
      where requested_refund_minor <> coalesce(minor, 0) or requested_refund_minor > captured_minor`,
  },
  {
    name: "refund-shares",
    invariant: "I11",
    description:
      "The shares of a refund add up to its amount, and those of one payment are of no more units than the items have.",
    query: `
      with share as (
        select refund_id, sum(amount_minor) as minor, sum(tax_minor) as tax from refund_line group by refund_id
      ),
      unit as (
        select refund.payment_id, refund.order_id, position, sum(refund_line.quantity) as units
        from refund join refund_line on refund_id = id where state <> 'FAILED' group by 1, 2, 3
      )
      select 'refunds/' || id as resource, amount_minor, minor as lines_minor, shipping_minor, null::bigint as units
      from refund left join share on refund_id = id
      where amount_minor <> coalesce(minor, 0) + shipping_minor
      union all
      select 'payments/' || payment_id, null, null, null, units
      from unit left join order_item using (order_id, position)
      where units > coalesce(quantity, 0)`,
  },
  {
    name: "payment-requests",
    invariant: "I11",
    description:
      "Each open request to a gateway has a job, each request that was carried out has its entry, and the state of a refund is that of its request.",
    query: `
      with stated as (${REQUEST_ENTRIES}),
      job as (
        select data ->> 'requestId' as request from pgboss.job
        where name = 'payment-request' and state in ('created', 'retry', 'active')
      )
      select 'payment-requests/' || request.id as resource, request.kind, request.state, refund.state as refund_state,
        exists (select from job where job.request = request.id::text) as has_job
      from payment_request as request left join refund on refund.id = request.id
      where request.state = 'OPEN' and request.id::text not in (select job.request from job)
        or request.state = 'DONE' and request.kind <> 'CANCEL' and not exists (
          select from stated where stated.request = request.id::text
            and type = case request.kind when 'CAPTURE' then 'CAPTURED' else 'REFUNDED' end
        )
        or request.kind = 'REFUND' and refund.state is distinct from case request.state
          when 'DONE' then 'SUCCEEDED' when 'FAILED' then 'FAILED' else 'PENDING' end
      union all
      select 'refunds/' || refund.id, 'REFUND', null, refund.state, false
      from refund join payment on payment.id = payment_id left join payment_request on payment_request.id = refund.id
      where payment.gateway <> 'manual' and payment_request.id is null
        or payment.gateway = 'manual' and not exists (
          select from stated where stated.request = refund.id::text and type = 'REFUNDED' and stated.gateway = 'manual'
        )`,
  },
  {
    name: "ledger-discrepancies",
    invariant: "I11",
    description:
      "The sums of settled payments are those of the gateway, and each other contradiction is resolved within a day.",
    query: `
      select 'ledger-discrepancies/' || id as resource, kind, order_id, payment_id, reference, created_at
      from payment_discrepancy
      where resolved_at is null
        and (kind in ('CAPTURED_MISMATCH', 'REFUNDED_MISMATCH') or created_at < now() - interval '1 day')`,
  },
  {
    name: "webhook-events",
    invariant: "I11",
    description: "Each webhook is processed within 10 minutes.",
    query: `
      select 'webhook-events/' || gateway || '/' || event_id as resource, type, received_at, attempts, last_error
      from webhook_event where processed_at is null and received_at < now() - interval '10 minutes'`,
  },
  {
    name: "authorizations",
    invariant: "I11",
    description: "No payment is authorized past the time at which its authorization ends.",
    query: `
      select 'payments/' || id as resource, order_id, authorized_minor, captured_minor, capture_before
      from payment where state = 'AUTHORIZED' and capture_before < now()`,
  },
  {
    name: "late-money",
    invariant: "I11",
    description:
      "A cancelled or expired order keeps no money of a gateway: its payments are released, unless that has failed or a person has to decide.",
    query: `
      with ${PAYMENT_MONEY}
      select 'payments/' || payment.id as resource, payment.order_id, closing, captured, certain, requested_refund_minor,
        disputed, lost, foreign_refunds, open
      from orders join payment on payment.order_id = orders.id join payment_money on payment_id = payment.id
      where closing in ('CANCELLED', 'EXPIRED') and gateway <> 'manual'
        and (
          certain > requested_refund_minor + foreign_refunds + disputed + lost
            and not exists (select from refund where refund.payment_id = payment.id and refund.state = 'FAILED')
            and not exists (
              select from payment_discrepancy as conflict
              where conflict.payment_id = payment.id and conflict.kind = 'AMOUNT_CONFLICT'
                and conflict.resolved_at is null
            )
          or open > 0 and not exists (
            select from payment_request as request
            where request.payment_id = payment.id and request.kind = 'CANCEL' and request.state <> 'DONE'
          )
        )`,
  },
];
