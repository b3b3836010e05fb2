import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ShippingBasis } from "../../../../gen/cartwright/order/v1/zone_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { quotesOf } from "../../../support/quote/totals.ts";
import { createZones, deleteZones, shippingZone, taxZone } from "../../../support/quote/zone-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct, stockOf } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
  productId = await makeProduct(shop, { stock: 100n, minorUnits: 1_190n });
  const tiers = [{ minimum: 1_000_000n, priceMinorUnits: 0n }];
  const rates = [{ id: "freight", name: "Freight", basis: ShippingBasis.WEIGHT, tiers }];
  await createZones(shop, { shipping: [shippingZone(["DE"]), shippingZone(["FR"], { rates })] });
});
afterAll(() => shop.close());

/** Returns a request with a shipping address and without a shipping option. */
function requestTo(countryCode: string) {
  const items = [{ productId, quantity: 2n }];
  return { requestId: randomUUID(), order: { items, shippingAddress: { countryCode } } };
}
const eur = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });

test.each([
  ["options are offered", "DE", "SHIPPING_OPTION_REQUIRED", "SHIPPING_OPTION", 1],
  ["no zone has the country", "BE", "SHIPPING_NOT_AVAILABLE", "SHIPPING_ADDRESS", 0],
  ["no rate has a price for the basket", "FR", "SHIPPING_NOT_AVAILABLE", "SHIPPING_ADDRESS", 0],
])(
  "an order without a shipping option is rejected with its quote if %s",
  async (_, countryCode, reason, type, options) => {
    const before = await stockOf(shop, productId);
    for (const validateOnly of [false, true]) {
      // The total is compared afterwards.
      const request = { ...requestTo(countryCode), validateOnly, expectedTotal: eur(1n) };
      expect(await failureOf(shop.orders.createOrder(request))).toMatchObject({
        code: "FailedPrecondition",
        reason,
        preconditions: [type],
      });
      const [quote] = await quotesOf(shop.orders.createOrder(request));
      expect(quote?.items).toMatchObject([{ productId, quantity: 2n }]);
      expect(quote?.shippingOptions).toHaveLength(options);
    }
    expect(await stockOf(shop, productId)).toBe(before);
    // A quote needs no option: it offers them.
    const { quote } = await shop.orders.quoteOrder(requestTo(countryCode).order);
    expect(quote?.shippingOptions).toHaveLength(options);
  },
);

test("a shop without shipping zones places an order without shipping", async () => {
  await deleteZones(shop);
  await createZones(shop, { tax: [taxZone("DE")] });
  const { order } = await shop.orders.createOrder(requestTo("DE"));
  expect(order).toMatchObject({ totalPrice: eur(2_380n), includedTax: eur(380n) });
  expect(order?.shippingOption).toBeUndefined();
});
