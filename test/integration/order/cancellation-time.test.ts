import { randomUUID } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { startShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";

test("a cancellation by a replica whose clock is behind is not dated before the order", async () => {
  const shop = await startShop();
  onTestFinished(() => shop.close());
  const productId = await makeProduct(shop, { stock: 1n });
  const { order } = await shop.orders.createOrder({
    requestId: randomUUID(),
    order: { items: [{ productId, quantity: 1n }] },
  });
  const id = order?.id ?? "";
  await shop.database.query(
    "update orders set created_at = created_at + interval '1 hour', updated_at = updated_at + interval '2 hours' where id = $1",
    [id],
  );
  const { order: cancelled } = await shop.orders.cancelOrder({ id });
  expect((await shop.orders.getOrder({ id })).order).toEqual(cancelled);
  const [row] = await shop.database.query<{ seconds: string }>(
    "select extract(epoch from updated_at - created_at)::int as seconds from orders where id = $1",
    [id],
  );
  expect(row).toEqual({ seconds: 3_600 });
  expect(await findViolations(shop.database.url)).toEqual([]);
});
