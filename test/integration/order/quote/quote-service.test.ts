import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { failureOf } from "../../../support/errors.ts";
import {
  type QuoteService,
  quoteFor,
  respond,
  startQuoteService,
} from "../../../support/quote/quote-service.ts";
import { amountsOf } from "../../../support/quote/totals.ts";
import { createZones, shippingZone, taxZone } from "../../../support/quote/zone-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";

let service: QuoteService;
let shop: TestShop;
let productId: string;
beforeAll(async () => {
  service = await startQuoteService();
  shop = await startShop({ QUOTE_URL: service.url, QUOTE_TIMEOUT_MS: "10000" });
  await createZones(shop, { shipping: [shippingZone(["DE"])], tax: [taxZone("DE")] });
});
beforeEach(async () => {
  productId = await makeProduct(shop, { stock: 100n, minorUnits: 1_190n });
  service.received.length = 0;
  service.handle = (request, response) => respond(response, quoteFor(request));
});
afterAll(async () => {
  await shop.close();
  await service.close();
});

const request = (shippingOption: string) => ({
  requestId: randomUUID(),
  order: {
    items: [{ productId, quantity: 1n }],
    shippingAddress: { countryCode: "DE" },
    shippingOption: { id: shippingOption },
  },
});
const changePrice = (minorUnits: bigint) =>
  shop.catalog.updateProduct({ product: { id: productId, price: { currencyCode: "EUR", minorUnits } } });

test("quotes and orders have the taxes and options of the service", async () => {
  const { items, shippingAddress } = request("remote").order;
  const { quote } = await shop.orders.quoteOrder({ items, shippingAddress, shippingOptionId: "remote" });
  expect(amountsOf(quote?.totals ?? [])).toMatchObject({ SHIPPING: 500n, TAX: 6n, TOTAL: 1_696n });
  const { order } = await shop.orders.createOrder(request("remote"));
  expect(order?.totals).toEqual(quote?.totals);
  expect(order?.shippingOption).toMatchObject({ id: "remote", name: "Remote" });
});

test("an order without an address sends no request", async () => {
  const { items } = request("").order;
  await shop.orders.createOrder({ requestId: randomUUID(), order: { items } });
  expect(service.received).toEqual([]);
});

test("an order whose price changes while it is quoted is quoted again", async () => {
  service.handle = async (received, response) => {
    if (service.received.length === 1) await changePrice(2_000n);
    respond(response, quoteFor(received));
  };
  const { order } = await shop.orders.createOrder(request("remote"));
  expect(order?.totalPrice?.minorUnits).toBe(2_506n);
  expect(service.received.map(({ body }) => body.lines[0]?.unitPrice)).toEqual([1_190, 2_000]);
});

test("an order whose price changes each time is aborted after three quotes, and places nothing", async () => {
  service.handle = async (received, response) => {
    await changePrice(BigInt(service.received.length));
    respond(response, quoteFor(received));
  };
  const failed = request("remote");
  expect(await failureOf(shop.orders.createOrder(failed))).toMatchObject({
    code: "Aborted",
    reason: "CONTENTION",
  });
  expect(service.received).toHaveLength(3);
  service.handle = (received, response) => respond(response, quoteFor(received));
  expect(await shop.orders.createOrder(failed)).toMatchObject({ replayed: false });
});

test("taxes that make the total too large are those of the zones instead", async () => {
  service.handle = (received, response) =>
    respond(response, { ...quoteFor(received), lineTaxes: received.body.lines.map(() => 1e15) });
  const { items, shippingAddress } = request("standard").order;
  const { quote } = await shop.orders.quoteOrder({ items, shippingAddress });
  expect(amountsOf(quote?.totals ?? [])).toMatchObject({ TAX: 0n, TOTAL: 1_190n });
  const { order } = await shop.orders.createOrder(request("standard"));
  expect(order).toMatchObject({
    totalPrice: { minorUnits: 1_680n },
    includedTax: { minorUnits: 190n + 78n },
  });
});

test("a call whose deadline passes fails, and the quotes of others are still those of the service", async () => {
  service.handle = () => {};
  const { items, shippingAddress } = request("remote").order;
  const headers = { "grpc-timeout": "400m" };
  const short = shop.orders.quoteOrder({ items, shippingAddress }, { headers });
  expect(await failureOf(short)).toMatchObject({ code: "DeadlineExceeded" });
  service.handle = (received, response) => respond(response, quoteFor(received));
  const { quote } = await shop.orders.quoteOrder({ items, shippingAddress });
  expect(quote?.shippingOptions).toMatchObject([{ id: "remote" }]);
});

test("a repeat returns the first response without a quote, with the service dead and a changed currency", async () => {
  const repeated = request("remote");
  const otherId = await makeProduct(shop, { stock: 1n, minorUnits: 500n });
  repeated.order.items.push({ productId: otherId, quantity: 1n });
  const first = await shop.orders.createOrder(repeated);
  await shop.catalog.updateProduct({
    product: { id: otherId, price: { currencyCode: "USD", minorUnits: 500n } },
  });
  service.received.length = 0;
  service.handle = (_, response) => response.destroy();
  expect(await shop.orders.createOrder(repeated)).toEqual({ ...first, replayed: true });
  const other = { ...repeated, order: { ...repeated.order, note: "other" } };
  expect(await failureOf(shop.orders.createOrder(other))).toMatchObject({ reason: "REQUEST_ID_REUSED" });
  expect(service.received).toEqual([]);
  const fresh = { ...repeated, requestId: randomUUID() };
  expect(await failureOf(shop.orders.createOrder(fresh))).toMatchObject({ reason: "SEVERAL_CURRENCIES" });
});

test("an order is not placed if the service offers no shipping option", async () => {
  service.handle = (received, response) => respond(response, { ...quoteFor(received), shippingOptions: [] });
  const { requestId, order } = request("remote");
  const withoutOption = { requestId, order: { ...order, shippingOption: undefined } };
  expect(await failureOf(shop.orders.createOrder(withoutOption))).toMatchObject({
    reason: "SHIPPING_NOT_AVAILABLE",
  });
});

test("while the service is down, orders are quoted with the zones", async () => {
  service.handle = (_, response) => response.destroy();
  const { order } = await shop.orders.createOrder(request("standard"));
  expect(order).toMatchObject({
    totalPrice: { minorUnits: 1_680n },
    includedTax: { minorUnits: 190n + 78n },
  });
  // The quote of the service is not that of the zones.
  expect(await failureOf(shop.orders.createOrder(request("remote")))).toMatchObject({
    reason: "QUOTE_CHANGED",
  });
});
