import { ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ShippingBasis } from "../../../../gen/cartwright/order/v1/zone_pb.ts";
import { PreconditionFailureSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { clientsOf, missingId, protocols } from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { amountsOf, quotesOf } from "../../../support/quote/totals.ts";
import { createZones, shippingZone, taxZone } from "../../../support/quote/zone-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let book: string;
let lamp: string;
beforeAll(async () => {
  shop = await startShop();
  book = await makeProduct(shop, { stock: 5n, minorUnits: 1_070n });
  lamp = await makeProduct(shop, { stock: 5n, minorUnits: 11_900n });
  await shop.catalog.updateProduct({ product: { id: book, taxClass: "books", weightGrams: 400n } });
  await shop.catalog.updateProduct({ product: { id: lamp, weightGrams: 2_000n } });
  const rates = [
    ...(shippingZone([]).rates ?? []),
    {
      id: "express",
      name: "Express",
      basis: ShippingBasis.WEIGHT,
      tiers: [
        { minimum: 0n, priceMinorUnits: 990n },
        { minimum: 2_000n, priceMinorUnits: 1_490n },
      ],
    },
  ];
  const bookRates = [
    { taxClass: "", ratePpm: 190_000 },
    { taxClass: "books", ratePpm: 70_000 },
  ];
  await createZones(shop, {
    shipping: [shippingZone(["DE", "FR"], { rates }), shippingZone(["US"], { currencyCode: "USD" })],
    tax: [
      taxZone("DE", { rates: bookRates }),
      taxZone("US", { region: "CA", pricesIncludeTax: false, rates: [{ ratePpm: 72_500 }] }),
    ],
  });
});
afterAll(() => shop.close());

const address = (countryCode: string, administrativeArea = "") => ({ countryCode, administrativeArea });
/** Returns the subjects of the preconditions that a call violates. */
const subjectsOf = async (call: Promise<unknown>) => {
  const [detail] = ConnectError.from(await call.catch((error) => error)).findDetails(
    PreconditionFailureSchema,
  );
  return detail?.violations.map(({ subject }) => subject);
};
const lines = (...items: [string, bigint][]) =>
  items.map(([productId, quantity]) => ({ productId, quantity }));

describe.each(protocols)("over %s", (protocol) => {
  const quote = async (request: Parameters<TestShop["orders"]["quoteOrder"]>[0]) =>
    (await clientsOf(shop, protocol).orders.quoteOrder(request)).quote;

  test("a quote has the prices, taxes and shipping options of an address", async () => {
    const quoted = await quote({
      items: lines([book.toUpperCase(), 1n], [lamp, 1n], [book, 1n]),
      shippingAddress: address("DE"),
    });
    expect(quoted?.items).toMatchObject([
      {
        productId: book,
        quantity: 2n,
        unitPrice: { currencyCode: "EUR", minorUnits: 1_070n },
        totalPrice: { minorUnits: 2_140n },
        tax: { currencyCode: "EUR", minorUnits: 140n },
        available: true,
      },
      { productId: lamp, quantity: 1n, tax: { minorUnits: 1_900n }, available: true },
    ]);
    expect(amountsOf(quoted?.totals ?? [])).toEqual({
      SUBTOTAL: 14_040n,
      DISCOUNT: 0n,
      SHIPPING: 0n,
      TAX: 0n,
      TOTAL: 14_040n,
    });
    expect(quoted?.includedTax).toMatchObject({ currencyCode: "EUR", minorUnits: 2_040n });
    expect(quoted?.shippingOptions).toMatchObject([
      { id: "standard", price: { minorUnits: 0n }, tax: { minorUnits: 0n }, maxDeliveryDays: 3 },
      { id: "express", price: { minorUnits: 1_490n }, tax: { minorUnits: 238n }, maxDeliveryDays: 0 },
    ]);
    expect(quoted?.shippingOption).toBeUndefined();
  });

  test("the totals include the price and the tax of the chosen option", async () => {
    const quoted = await quote({
      items: lines([book, 1n]),
      shippingAddress: address("DE"),
      shippingOptionId: "express",
    });
    expect(amountsOf(quoted?.totals ?? [])).toMatchObject({
      SUBTOTAL: 1_070n,
      SHIPPING: 990n,
      TOTAL: 2_060n,
    });
    expect(quoted?.includedTax?.minorUnits).toBe(70n + 158n);
    expect(quoted?.shippingOption).toMatchObject({ id: "express", name: "Express" });
  });

  test("tax is added where prices do not include it, and only in its region", async () => {
    const inRegion = await quote({ items: lines([lamp, 1n]), shippingAddress: address("US", "ca") });
    expect(amountsOf(inRegion?.totals ?? [])).toMatchObject({ TAX: 863n, TOTAL: 12_763n });
    expect(inRegion?.includedTax?.minorUnits).toBe(0n);
    // The zone's prices are in USD.
    expect(inRegion?.shippingOptions).toEqual([]);
    const elsewhere = await quote({ items: lines([lamp, 1n]), shippingAddress: address("US", "OR") });
    expect(amountsOf(elsewhere?.totals ?? [])).toMatchObject({ TAX: 0n, TOTAL: 11_900n });
  });

  test("without an address there is no tax and no shipping option, and an option is rejected", async () => {
    const quoted = await quote({ items: lines([lamp, 1n]) });
    expect(quoted).toMatchObject({ shippingOptions: [], includedTax: { minorUnits: 0n } });
    expect(amountsOf(quoted?.totals ?? [])).toMatchObject({ TAX: 0n, TOTAL: 11_900n });
    expect(await failureOf(quote({ items: lines([lamp, 1n]), shippingOptionId: "express" }))).toMatchObject({
      reason: "FIELD_REQUIRED",
      fields: ["shipping_address"],
    });
  });

  test("missing units are reported by item, and nothing is reserved", async () => {
    const request = { items: lines([book, 6n], [lamp, 5n]), shippingAddress: address("DE") };
    const quoted = await quote(request);
    expect(quoted?.items.map(({ available }) => available)).toEqual([false, true]);
    expect(await quote(request)).toEqual(quoted);
  });

  test("an option that is not offered fails, and the error has the quote without it", async () => {
    const request = {
      items: lines([book, 6n]),
      shippingAddress: address("JP"),
      shippingOptionId: "standard",
    };
    expect(await failureOf(quote(request))).toMatchObject({
      code: "FailedPrecondition",
      reason: "QUOTE_CHANGED",
      preconditions: ["SHIPPING_OPTION"],
    });
    expect(await subjectsOf(quote(request))).toEqual(["shipping_option_id"]);
    expect(await quotesOf(quote(request))).toMatchObject([
      { items: [{ productId: book, available: false }], shippingOptions: [] },
    ]);
  });

  test.each([
    ["DE", "Choose one of these options: standard, express."],
    ["JP", "No option is offered."],
  ])("an unknown option in %s fails with the options that are offered", async (country, advice) => {
    const request = {
      items: lines([book, 1n]),
      shippingAddress: address(country),
      shippingOptionId: "drone",
    };
    expect(await failureOf(quote(request))).toMatchObject({
      reason: "QUOTE_CHANGED",
      message: `The shipping option "drone" is not offered for this address and these items. ${advice}`,
    });
  });

  test("unknown and deleted products, several currencies and large amounts fail as in CreateOrder", async () => {
    const dollars = await makeProduct(shop, { stock: 1n, currencyCode: "USD" });
    const gold = await makeProduct(shop, { stock: 1n, minorUnits: 10n ** 15n });
    const deleted = await makeProduct(shop, { stock: 1n });
    await shop.catalog.deleteProduct({ id: deleted });
    const failures = [
      [lines([missingId, 1n]), "NotFound", "PRODUCT_NOT_FOUND"],
      [lines([lamp, 1n], [deleted, 1n]), "FailedPrecondition", "PRODUCT_DELETED"],
      [lines([lamp, 1n], [dollars, 1n]), "FailedPrecondition", "SEVERAL_CURRENCIES"],
      [lines([gold, 1n], [lamp, 1n]), "InvalidArgument", "AMOUNT_TOO_LARGE"],
      [lines([lamp, 9_999n], [lamp, 2n]), "InvalidArgument", "INVALID_FIELD"],
    ] as const;
    for (const [items, code, reason] of failures) {
      expect(await failureOf(quote({ items, shippingAddress: address("DE") }))).toMatchObject({
        code,
        reason,
      });
    }
    const tooLarge = { code: "InvalidArgument", reason: "AMOUNT_TOO_LARGE" };
    const untaxed = quote({ items: lines([gold, 1n], [lamp, 1n]) });
    expect(await failureOf(untaxed)).toMatchObject({ ...tooLarge, fields: ["items"] });
    // Only the added tax passes the largest amount.
    const taxed = quote({ items: lines([gold, 1n]), shippingAddress: address("US", "CA") });
    expect(await failureOf(taxed)).toMatchObject({
      ...tooLarge,
      fields: ["items"],
      message:
        "items: the total with shipping and tax is too large. Order less, or check the rates of the shipping zone and the tax zone.",
    });
    const included = await quote({ items: lines([gold, 1n]), shippingAddress: address("DE") });
    expect(amountsOf(included?.totals ?? []).TOTAL).toBe(10n ** 15n);
  });

  test.each([
    ["no item", { items: [] }, "items"],
    [
      "101 items",
      { items: Array.from({ length: 101 }, () => ({ productId: missingId, quantity: 1n })) },
      "items",
    ],
    ["no units", { items: [{ productId: missingId, quantity: 0n }] }, "items[0].quantity"],
    ["a country in lower case", { shippingAddress: { countryCode: "de" } }, "shipping_address.country_code"],
    ["no country", { shippingAddress: {} }, "shipping_address.country_code"],
    ["an unknown country", { shippingAddress: { countryCode: "ZZ" } }, "shipping_address.country_code"],
    [
      "an unknown country of the invoice",
      { billingAddress: { countryCode: "ZZ" } },
      "billing_address.country_code",
    ],
    ["a long option", { shippingOptionId: "x".repeat(101) }, "shipping_option_id"],
  ])("%s is rejected", async (_, wrong, field) => {
    const failure = await failureOf(quote({ items: lines([lamp, 1n]), ...wrong }));
    expect(failure).toMatchObject({ code: "InvalidArgument", fields: [field] });
  });

  test("a change of a zone is in the quotes that follow it", async () => {
    const { shippingZone: zone } = await shop.zones.createShippingZone({
      shippingZone: shippingZone(["AT"]),
    });
    const request = { items: lines([book, 1n]), shippingAddress: address("AT") };
    expect((await quote(request))?.shippingOptions).toMatchObject([{ id: "standard" }]);
    const rates = [{ ...shippingZone([]).rates?.[0], id: "post", name: "Post" }];
    await shop.zones.updateShippingZone({ shippingZone: { id: zone?.id, rates } });
    expect((await quote(request))?.shippingOptions).toMatchObject([{ id: "post" }]);
    await shop.zones.deleteShippingZone({ id: zone?.id });
    expect((await quote(request))?.shippingOptions).toEqual([]);
  });
});

test("a quote of 100 products has a line for each", async () => {
  const ids: string[] = [];
  for (let count = 0; count < 100; count += 1)
    ids.push(await makeProduct(shop, { stock: 1n, minorUnits: 5n }));
  const items = ids.map((productId) => ({ productId, quantity: 1n }));
  const { quote } = await shop.orders.quoteOrder({ items, shippingAddress: address("DE") });
  expect(quote?.items.map(({ productId }) => productId)).toEqual(ids);
  // Rounded by line: 19 % included in 0.05 is 0.01.
  expect(quote?.includedTax?.minorUnits).toBe(100n);
  const changed = { items, shippingAddress: address("DE"), shippingOptionId: "none" };
  // Some clients reject trailers over 8 KiB.
  const [detail] = await quotesOf(shop.orders.quoteOrder(changed));
  expect(detail).toMatchObject({ items: [], shippingOptions: [{ id: "standard" }, { id: "express" }] });
});

test("a quote cannot be requested by GET, whose URL would have the address", async () => {
  const response = await fetch(
    `${shop.url}/cartwright.order.v1.OrderService/QuoteOrder?connect=v1&encoding=json&message=%7B%7D`,
  );
  expect(response.status).toBe(405);
});
