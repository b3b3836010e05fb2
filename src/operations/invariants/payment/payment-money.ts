/**
 * Common table expressions with the amounts of payments as `derivePaymentMoney` derives them from the ledger, and with their
 * state. Entries in another currency than that of the payment do not count. `foreign_refunds` are those that the service has
 * not requested, or that exceed a request. `certain` is what was captured in any case: of several amounts of one capture, the
 * smallest.
 */
export const PAYMENT_MONEY = `
  counted_entry as (
    select payment_id, type, entry.reference, max(entry.amount_minor) as minor,
      min(entry.amount_minor) as smallest, max(entry.request_id::text) as request
    from ledger_entry as entry join payment on payment.id = payment_id and payment.currency = entry.currency
    group by payment_id, type, entry.reference
  ),
  money_fact as (
    select payment_id, type, minor, smallest, coalesce(max(request) over same, reference) as request,
      bool_or(type = 'REFUND_FAILED') over same as is_refund_failed,
      bool_or(type = 'DISPUTE_WON') over same as is_won,
      bool_or(type = 'DISPUTE_LOST') over same as is_lost
    from counted_entry window same as (partition by payment_id, reference)
  ),
  fact_sum as (
    select payment_id,
      coalesce(sum(minor) filter (where type = 'AUTHORIZED'), 0) as authorized,
      coalesce(sum(minor) filter (where type = 'CAPTURED'), 0) as captured,
      coalesce(sum(smallest) filter (where type = 'CAPTURED'), 0) as certain,
      coalesce(sum(minor) filter (where type = 'REFUNDED' and not is_refund_failed), 0) as refunded,
      coalesce(sum(minor) filter (where type = 'DISPUTED' and not is_won and not is_lost), 0) as disputed,
      coalesce(sum(minor) filter (where type = 'DISPUTE_LOST' and not is_won), 0) as lost,
      bool_or(type = 'VOIDED') as is_voided, bool_or(type = 'AUTHORIZATION_FAILED') as has_failed
    from money_fact group by payment_id
  ),
  own_refund as (
    select refund.payment_id, sum(least(minor, amount_minor)) as minor
    from refund join (
      select payment_id, request, sum(minor) as minor from money_fact
      where type = 'REFUNDED' and not is_refund_failed group by 1, 2
    ) as stated on stated.payment_id = refund.payment_id and request = refund.id::text
    where refund.state <> 'FAILED' group by refund.payment_id
  ),
  payment_money as (
    select id as payment_id, payment.order_id, fact_sum.payment_id is not null as has_entries,
      coalesce(authorized, 0) as authorized, coalesce(captured, 0) as captured, coalesce(certain, 0) as certain,
      coalesce(refunded, 0) as refunded,
      coalesce(disputed, 0) as disputed, coalesce(lost, 0) as lost, coalesce(is_voided, false) as is_voided,
      coalesce(has_failed, false) as has_failed, open, coalesce(refunded, 0) - coalesce(own_refund.minor, 0) as foreign_refunds,
      case
        when captured > 0 then 'CAPTURED'
        when open > 0 then 'AUTHORIZED'
        when is_voided then 'CANCELLED'
        when has_failed and step = 'PENDING' then 'FAILED'
        else step
      end as state,
      exists (
        select from ledger_entry as entry
        where entry.payment_id = payment.id and (entry.gateway, entry.order_id) <> (payment.gateway, payment.order_id)
      ) as is_foreign
    from payment left join fact_sum on fact_sum.payment_id = payment.id
      left join own_refund on own_refund.payment_id = payment.id,
      lateral (select case when is_voided then 0 else greatest(authorized - captured, 0) end as open) as rest
  )`;

/** A common table expression with the amounts and the payment states of orders, as `deriveOrderMoney` derives them. */
export const ORDER_MONEY = `
  order_money as (
    select order_id, captured, returned, case
        when returned > 0 and returned >= captured then 'REFUNDED'
        when returned > 0 then 'PARTIALLY_REFUNDED'
        when open > 0 then 'AUTHORIZED'
        when captured > 0 then 'PAID'
        when has_failed then 'FAILED'
        else 'UNPAID'
      end as state
    from (
      select order_id, sum(captured) as captured, sum(refunded + lost) as returned, sum(coalesce(open, 0)) as open,
        bool_or(has_failed or is_voided and authorized > 0) as has_failed
      from payment_money group by order_id
    ) as total
  )`;
