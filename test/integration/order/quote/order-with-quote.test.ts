import { randomUUID } from "node:crypto";
import { type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { OrderSchema } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import {
  type CreateOrderRequestSchema,
  CreateOrderResponseSchema,
} from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { amountsOf, quotesOf } from "../../../support/quote/totals.ts";
import { createZones, shippingZone, taxZone } from "../../../support/quote/zone-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct, stockOf } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
  productId = await makeProduct(shop, { stock: 1_000n, minorUnits: 1_190n });
  await createZones(shop, {
    shipping: [shippingZone(["DE", "US", "EG", "IN", "JP"])],
    tax: [
      taxZone("DE"),
      ...["US", "BE"].map((country) =>
        taxZone(country, { pricesIncludeTax: false, rates: [{ ratePpm: 100_000 }] }),
      ),
    ],
  });
});
afterAll(() => shop.close());

type OrderInit = Omit<MessageInitShape<typeof OrderSchema>, "$typeName">;
type RequestInit = Omit<MessageInitShape<typeof CreateOrderRequestSchema>, "$typeName">;

/** Returns a request for two units with the standard option to Germany, whose total is EUR 28.70. */
function requestOf(order: OrderInit = {}, more: RequestInit = {}): RequestInit {
  const items = [{ productId, quantity: 2n }];
  const shippingAddress = { countryCode: "DE" };
  const shippingOption = { id: "standard" };
  return { requestId: randomUUID(), order: { items, shippingAddress, shippingOption, ...order }, ...more };
}
const eur = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });

describe("an order with a quote", () => {
  test("an order has the taxes, the shipping option and the totals of its quote", async () => {
    const request = requestOf({}, { expectedTotal: eur(2_870n) });
    const { quote } = await shop.orders.quoteOrder({
      items: request.order?.items,
      shippingAddress: request.order?.shippingAddress,
      shippingOptionId: "standard",
    });
    const { order } = await shop.orders.createOrder(request);
    expect(order?.totals).toEqual(quote?.totals);
    expect(order?.includedTax).toEqual(quote?.includedTax);
    expect(order?.shippingOption).toEqual(quote?.shippingOption);
    expect(order?.items[0]?.tax).toEqual(quote?.items[0]?.tax);
    expect(amountsOf(order?.totals ?? [])).toEqual({
      SUBTOTAL: 2_380n,
      DISCOUNT: 0n,
      SHIPPING: 490n,
      TAX: 0n,
      TOTAL: 2_870n,
    });
    expect(order).toMatchObject({ includedTax: eur(380n + 78n), amountDue: eur(2_870n) });
    expect((await shop.orders.getOrder({ id: order?.id })).order).toEqual(order);
  });

  test("tax is added to the total where prices do not include it", async () => {
    const { order } = await shop.orders.createOrder(requestOf({ shippingAddress: { countryCode: "US" } }));
    expect(amountsOf(order?.totals ?? [])).toMatchObject({ SHIPPING: 490n, TAX: 238n + 49n, TOTAL: 3_157n });
    expect(order?.items[0]?.tax).toMatchObject(eur(238n));
    expect((await shop.orders.getOrder({ id: order?.id })).order).toEqual(order);
  });

  test("an order without an address has no tax, and may expect its total", async () => {
    const bare = { shippingAddress: undefined, shippingOption: undefined };
    const { order } = await shop.orders.createOrder(requestOf(bare, { expectedTotal: eur(2_380n) }));
    expect(amountsOf(order?.totals ?? [])).toMatchObject({ SHIPPING: 0n, TAX: 0n, TOTAL: 2_380n });
  });

  test("the billing address determines the tax of an order that is not shipped, as in its quote", async () => {
    const billingAddress = { countryCode: "US" };
    const bare = { shippingAddress: undefined, shippingOption: undefined, billingAddress };
    const { items } = requestOf().order ?? {};
    const { quote } = await shop.orders.quoteOrder({ items, billingAddress });
    expect(quote).toMatchObject({ shippingOptions: [], items: [{ tax: eur(238n) }] });
    const { order } = await shop.orders.createOrder(requestOf(bare, { expectedTotal: eur(2_618n) }));
    expect(order?.totals).toEqual(quote?.totals);
    expect(amountsOf(order?.totals ?? [])).toMatchObject({ SHIPPING: 0n, TAX: 238n, TOTAL: 2_618n });
    // It is not shipped, so that it is no matter whether an option is offered for the address.
    const { order: belgian } = await shop.orders.createOrder(
      requestOf({ ...bare, billingAddress: { countryCode: "BE" } }),
    );
    expect(belgian).toMatchObject({ totalPrice: eur(2_618n), billingAddress: { countryCode: "BE" } });
  });

  test("the shipping address determines the tax of an order with both addresses", async () => {
    const request = requestOf({ billingAddress: { countryCode: "US" } });
    const { order } = await shop.orders.createOrder(request);
    expect(order).toMatchObject({ totalPrice: eur(2_870n), includedTax: eur(380n + 78n) });
    const { quote } = await shop.orders.quoteOrder({
      items: request.order?.items,
      shippingAddress: { countryCode: "DE" },
      billingAddress: { countryCode: "US" },
      shippingOptionId: "standard",
    });
    expect(quote?.totals).toEqual(order?.totals);
  });

  test("validate_only returns the totals and places nothing", async () => {
    const before = await stockOf(shop, productId);
    const { order } = await shop.orders.createOrder(requestOf({}, { validateOnly: true }));
    expect(order).toMatchObject({ totalPrice: eur(2_870n), shippingOption: { id: "standard" } });
    expect(await stockOf(shop, productId)).toBe(before);
  });
});

describe("a changed quote", () => {
  test.each([
    ["another amount", eur(2_869n)],
    ["another currency", { currencyCode: "USD", minorUnits: 2_870n }],
    ["nothing", eur(0n)],
  ])(
    "an order that expects %s is rejected with the new quote, and the request_id stays free",
    async (_, expected) => {
      const before = await stockOf(shop, productId);
      const request = requestOf({}, { expectedTotal: expected });
      for (const orders of [shop.orders, shop.json.orders]) {
        expect(await failureOf(orders.createOrder(request))).toMatchObject({
          code: "FailedPrecondition",
          reason: "QUOTE_CHANGED",
          preconditions: ["TOTAL"],
        });
        const [quote, ...more] = await quotesOf(orders.createOrder(request));
        expect(more).toEqual([]);
        expect(amountsOf(quote?.totals ?? [])).toMatchObject({ SHIPPING: 490n, TOTAL: 2_870n });
        expect(quote).toMatchObject({
          items: [{ productId, quantity: 2n, tax: eur(380n), available: true }],
          includedTax: eur(458n),
          shippingOptions: [{ id: "standard" }],
          shippingOption: { id: "standard" },
        });
      }
      expect(await stockOf(shop, productId)).toBe(before);
      const { order, replayed } = await shop.orders.createOrder({ ...request, expectedTotal: eur(2_870n) });
      expect([order?.totalPrice?.minorUnits, replayed]).toEqual([2_870n, false]);
    },
  );

  test("the message names the totals in minor units", async () => {
    const request = requestOf({}, { expectedTotal: { currencyCode: "USD", minorUnits: 1n } });
    expect(await failureOf(shop.orders.createOrder(request))).toMatchObject({
      message:
        "The quote has changed: the total is 2870 minor units of EUR, not 1 of USD. Show the new quote to the buyer.",
    });
  });

  test("an order without an address that expects another total is rejected with its quote", async () => {
    const request = requestOf(
      { shippingAddress: undefined, shippingOption: undefined },
      { expectedTotal: eur(1n) },
    );
    const [quote] = await quotesOf(shop.orders.createOrder(request));
    expect(amountsOf(quote?.totals ?? [])).toMatchObject({ TOTAL: 2_380n });
  });

  test.each([
    ["is unknown", { shippingOption: { id: "drone" } }, 1],
    ["is not offered in the country", { shippingAddress: { countryCode: "BE" } }, 0],
  ])("an order whose shipping option %s is rejected with the new quote", async (_, order, options) => {
    expect(await failureOf(shop.orders.createOrder(requestOf(order)))).toMatchObject({
      code: "FailedPrecondition",
      reason: "QUOTE_CHANGED",
      preconditions: ["SHIPPING_OPTION"],
    });
    const [quote] = await quotesOf(shop.orders.createOrder(requestOf(order)));
    expect(quote?.shippingOptions).toHaveLength(options);
    expect(quote?.shippingOption).toBeUndefined();
  });

  test("one order of a batch that is rejected does not affect the others", async () => {
    const requests = Array.from({ length: 40 }, (_, index) =>
      requestOf({}, { expectedTotal: eur(index % 2 === 0 ? 2_870n : 1n) }),
    );
    const settled = await Promise.allSettled(requests.map((request) => shop.orders.createOrder(request)));
    expect(settled.map(({ status }) => status)).toEqual(
      requests.map((_, index) => (index % 2 === 0 ? "fulfilled" : "rejected")),
    );
  });

  test("a price change between the quote and the order is noticed", async () => {
    const changing = await makeProduct(shop, { stock: 10n, minorUnits: 1_000n });
    const items = [{ productId: changing, quantity: 1n }];
    const { quote } = await shop.orders.quoteOrder({ items });
    const total = quote?.totals.at(-1)?.amount;
    await shop.catalog.updateProduct({ product: { id: changing, price: eur(1_001n) } });
    const request = requestOf({ items }, { expectedTotal: total });
    expect(await failureOf(shop.orders.createOrder(request))).toMatchObject({ reason: "QUOTE_CHANGED" });
  });
});

test("a repeat returns the first response byte for byte after the zones have changed", async () => {
  await createZones(shop, { shipping: [shippingZone(["AT"])], tax: [taxZone("AT")] });
  const request = requestOf({ shippingAddress: { countryCode: "AT" } }, { expectedTotal: eur(2_870n) });
  const first = await shop.orders.createOrder(request);
  await shop.database.query(
    "delete from shipping_zone where id in (select zone_id from shipping_zone_country where country = 'AT')",
  );
  const { taxZones } = await shop.zones.listTaxZones({ countryCode: "AT" });
  await shop.zones.updateTaxZone({ taxZone: { id: taxZones[0]?.id, rates: [{ ratePpm: 500_000 }] } });
  expect(await failureOf(shop.orders.createOrder({ ...request, requestId: randomUUID() }))).toMatchObject({
    reason: "QUOTE_CHANGED",
  });
  const repeated = await shop.orders.createOrder(request);
  const bytes = (response: typeof first) =>
    toBinary(CreateOrderResponseSchema, { ...response, replayed: false });
  expect(repeated.replayed).toBe(true);
  expect(Buffer.from(bytes(repeated)).equals(Buffer.from(bytes(first)))).toBe(true);
});

test.each([
  ["another address", { shippingAddress: { countryCode: "DE", locality: "Bonn" } }, {}],
  ["another shipping option", { shippingOption: undefined }, {}],
  ["an expected total", {}, { expectedTotal: eur(2_870n) }],
])("a request_id is bound to the content of its request: %s is rejected", async (_, order, more) => {
  const request = requestOf();
  await shop.orders.createOrder(request);
  const other = { ...request, ...more, order: { ...request.order, ...order } };
  expect(await failureOf(shop.orders.createOrder(other))).toMatchObject({ reason: "REQUEST_ID_REUSED" });
});

test.each([
  ["an unknown country", { shippingAddress: { countryCode: "XX" } }, "order.shipping_address.country_code"],
  [
    "an unknown country of the invoice",
    { billingAddress: { countryCode: "UK" } },
    "order.billing_address.country_code",
  ],
  [
    "a country in lower case",
    { shippingAddress: { countryCode: "de" } },
    "order.shipping_address.country_code",
  ],
  ["an option without an address", { shippingAddress: undefined }, "order.shipping_address"],
  ["an option without an id", { shippingOption: { id: "" } }, "order.shipping_option.id"],
  [
    "a name of 201 characters",
    { shippingAddress: { countryCode: "DE", recipient: "ü".repeat(201) } },
    "order.shipping_address.recipient",
  ],
  [
    "six address lines",
    { shippingAddress: { countryCode: "DE", addressLines: Array.from({ length: 6 }, () => "x") } },
    "order.shipping_address.address_lines",
  ],
  [
    "a NUL byte in the city",
    { shippingAddress: { countryCode: "DE", locality: "Bonn\0" } },
    "order.shipping_address.locality",
  ],
])("an order with %s is rejected", async (_, order, field) => {
  const failure = await failureOf(shop.orders.createOrder(requestOf(order)));
  expect(failure).toMatchObject({ code: "InvalidArgument", fields: [field] });
});

test.each([
  [
    "Japanese",
    {
      countryCode: "JP",
      administrativeArea: "東京都",
      locality: "千代田区",
      addressLines: ["丸の内１丁目９−１", "東京駅"],
      recipient: "山田　太郎",
      postalCode: "〒100-0005",
    },
  ],
  [
    "Arabic, from right to left",
    { countryCode: "EG", locality: "القاهرة", addressLines: ["١٢ شارع التحرير‎"], recipient: "محمد ‫عبد الله‬" },
  ],
  [
    "Hindi, with combining characters",
    { countryCode: "IN", recipient: "श्री राजेश कुमार", addressLines: ["१२/३, गांधी मार्ग"] },
  ],
  [
    "German, decomposed and with spaces",
    { countryCode: "DE", recipient: "  Mu\u0308ller  ", addressLines: ["Stra\u00dfe 1"] },
  ],
  ["of 200 characters", { countryCode: "DE", recipient: "𠮷".repeat(200), organization: "o".repeat(200) }],
])("an address in %s is stored and returned as it was written", async (_, shippingAddress) => {
  const note = "Bitte klingeln 🔔 👩‍👩‍👧‍👦\n\tDanke! \u{1F64F}\u{1F3FD}";
  const request = requestOf({ shippingAddress, billingAddress: shippingAddress, note });
  for (const orders of [shop.orders, shop.json.orders]) {
    const { order } = await orders.createOrder(request);
    expect(order).toMatchObject({ shippingAddress, billingAddress: shippingAddress, note });
    expect((await orders.getOrder({ id: order?.id })).order).toEqual(order);
  }
});
