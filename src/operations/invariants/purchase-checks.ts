import type { Check } from "./check.ts";

/** Checks of the totals of purchases and of their limits. */
export const purchaseChecks: readonly Check[] = [
  {
    name: "purchase-totals",
    invariant: "I5",
    description: "The totals of a product in a promotion are those of its purchases.",
    query: `
      with counted as (
        select promotion_id, product_id, currency,
          count(*) filter (where kind = 'SALE') as sales,
          coalesce(sum(amount_minor) filter (where kind = 'SALE'), 0) as sale_minor,
          count(*) filter (where kind = 'REVERSAL' and counts) as reversals,
          coalesce(sum(amount_minor) filter (where kind = 'REVERSAL'), 0) as reversal_minor
        from purchase group by promotion_id, product_id, currency
      ),
      total as (
        select promotion_id, product_id, currency, sum(sale_count) as sales, sum(sale_minor) as sale_minor,
          sum(reversal_count) as reversals, sum(reversal_minor) as reversal_minor
        from purchase_total group by promotion_id, product_id, currency
      )
      select format('promotions/%s/products/%s', promotion_id, product_id) as resource, currency,
        total.sales as total_sales, counted.sales as sales,
        total.sale_minor as total_sale_minor, counted.sale_minor as sale_minor,
        total.reversals as total_reversals, counted.reversals as reversals,
        total.reversal_minor as total_reversal_minor, counted.reversal_minor as reversal_minor
      from total full join counted using (promotion_id, product_id, currency)
      where (coalesce(total.sales, 0), coalesce(total.sale_minor, 0), coalesce(total.reversals, 0), coalesce(total.reversal_minor, 0))
        <> (coalesce(counted.sales, 0), coalesce(counted.sale_minor, 0), coalesce(counted.reversals, 0), coalesce(counted.reversal_minor, 0))`,
  },
  {
    name: "promotion-limits",
    invariant: "I5",
    description:
      "A promotion has no more purchases, recorded and held ones, than its limit, and none of its users has.",
    query: `
      with counted as (
        select promotion_id, user_id,
          count(*) filter (where kind = 'SALE') - count(*) filter (where kind = 'REVERSAL' and counts) as purchases
        from purchase
        where promotion_id in (select id from promotion where purchase_limit > 0 or purchase_limit_per_user > 0)
        group by promotion_id, user_id
        union all
        select promotion_id, user_id, purchases from promotion_hold
      ),
      bought as (
        select promotion_id, user_id, sum(purchases) as purchases from counted group by promotion_id, user_id
      )
      select 'promotions/' || id as resource, null as user_id, purchase_limit as "limit", sum(purchases) as purchases
      from bought join promotion on id = promotion_id
      where purchase_limit > 0 group by id having sum(purchases) > purchase_limit
      union all
      select 'promotions/' || id, user_id, purchase_limit_per_user, purchases
      from bought join promotion on id = promotion_id
      where purchase_limit_per_user > 0 and purchases > purchase_limit_per_user`,
  },
  {
    name: "promotion-holds",
    invariant: "I5",
    description:
      "The held purchases of a promotion are those that its orders hold. Only promotions with limits have any.",
    query: `
      select 'promotions/' || id as resource, held_purchases, held.purchases as purchases_of_orders,
        purchase_limit, purchase_limit_per_user
      from promotion left join (
        select promotion_id, sum(purchases) as purchases from promotion_hold group by promotion_id
      ) as held on held.promotion_id = id
      where held_purchases <> coalesce(held.purchases, 0)
        or held.purchases > 0 and purchase_limit = 0 and purchase_limit_per_user = 0`,
  },
  {
    name: "purchase-reversals",
    invariant: "I5",
    description:
      "The reversals of an item of an order add up to no more than its sale, and to all of it with its last unit.",
    query: `
      with item as (
        select order_id, product_id, count(*) filter (where kind = 'SALE') as sales,
          coalesce(sum(amount_minor) filter (where kind = 'SALE'), 0) as sale_minor,
          count(*) filter (where kind = 'REVERSAL' and counts) as reversals,
          count(*) filter (where not counts) as partial_reversals,
          coalesce(sum(amount_minor) filter (where kind = 'REVERSAL'), 0) as reversal_minor
        from purchase where order_id is not null group by order_id, product_id
      )
      select 'orders/' || order_id as resource, product_id, sales, sale_minor, reversals, partial_reversals, reversal_minor
      from item
      where sales <> 1 or reversals > 1 or reversal_minor > sale_minor
        or reversals = 1 and reversal_minor <> sale_minor`,
  },
];
