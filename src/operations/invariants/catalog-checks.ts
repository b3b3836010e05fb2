import { IS_PURCHASED } from "../../order/order.ts";
import type { Check } from "./check.ts";

/** Checks of the counters and ratings that the catalogue maintains. */
export const catalogChecks: readonly Check[] = [
  {
    name: "product-counts",
    invariant: "I9",
    description: "The counts of products by category, brand and price are those of the products.",
    query: `
      with counted as (
        select category_id, brand, currency, band, sum(product_count) as products, sum(in_stock_count) as in_stock,
          sum(price_sum) as price_sum
        from product_tally group by category_id, brand, currency, band
      ),
      actual as (
        select category_id, brand, currency, price_band(price_minor) as band, count(*) as products,
          count(*) filter (where in_stock) as in_stock, sum(price_minor) as price_sum
        from product where active group by category_id, brand, currency, price_band(price_minor)
      )
      select 'categories/' || category_id as resource, brand, currency, band,
        counted.products as counted_products, actual.products as products,
        counted.in_stock as counted_in_stock, actual.in_stock as in_stock,
        counted.price_sum as counted_price_sum, actual.price_sum as price_sum
      from counted full join actual using (category_id, brand, currency, band)
      where (coalesce(counted.products, 0), coalesce(counted.in_stock, 0), coalesce(counted.price_sum, 0))
        <> (coalesce(actual.products, 0), coalesce(actual.in_stock, 0), coalesce(actual.price_sum, 0))`,
  },
  {
    name: "product-ratings",
    invariant: "I9",
    description: "The rating of a product is that of its reviews.",
    query: `
      with reviewed as (
        select product_id, count(*) as reviews, sum(rating) as stars from review group by product_id
      )
      select 'products/' || id as resource, rating_count, reviews, rating_sum, stars, rating_average
      from product left join reviewed on product_id = id
      where (rating_count, rating_sum) <> (coalesce(reviews, 0), coalesce(stars, 0))
        or rating_average <> coalesce(stars::double precision / reviews, 0)`,
  },
  {
    name: "review-purchases",
    invariant: "I9",
    description:
      "The author of a review has bought the product: in a paid order, or in one of an earlier version.",
    query: `
      select 'reviews/' || review.id as resource, review.product_id, review.customer_id
      from review where not exists (
        select from orders join order_item on order_id = orders.id
        where orders.customer_id = review.customer_id and order_item.product_id = review.product_id and ${IS_PURCHASED}
      )`,
  },
];
