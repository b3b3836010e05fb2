import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import type { Log } from "../../../../src/kernel/log.ts";
import type { Basket, Quote, QuoteProvider, Quoter } from "../../../../src/order/quote/quote.ts";
import { StaleQuoterError } from "../../../../src/order/quote/quote-errors.ts";
import { createRemoteProvider } from "../../../../src/order/quote/remote/remote-provider.ts";
import { addressIn } from "../../../support/quote/arbitraries.ts";
import {
  type QuoteHandler,
  type QuoteService,
  quoteFor,
  respond,
  startQuoteService,
} from "../../../support/quote/quote-service.ts";

let service: QuoteService;
beforeAll(async () => {
  service = await startQuoteService();
});
beforeEach(() => {
  service.received.length = 0;
  service.handle = (request, response) => respond(response, quoteFor(request));
});
afterAll(() => service.close());

const line = { productId: "p", unitPrice: 1_000n, quantity: 2n, taxClass: "books", weightGrams: 300n };
const basket: Basket = { currencyCode: "EUR", lines: [line, { ...line, productId: "q", taxClass: "" }] };
const address = { ...addressIn("DE", "BY"), recipient: "Ada", phone: "112", locality: "München" };
const FALLBACK: Quote = {
  lineTaxes: [7n, 7n],
  isTaxIncluded: true,
  shippingOptions: [],
  needsShippingOption: true,
};
/** Returns the quote of a shop without shipping zones. */
const withoutZones: Quoter = () => ({ ...FALLBACK, needsShippingOption: false });
const fallback: QuoteProvider = { callsService: false, prepare: async () => withoutZones };

interface Line {
  level: string;
  message: string;
}

/** Creates a provider with a log of its own. */
function createProvider(more: { url?: string; timeoutMs?: number } = {}) {
  const lines: Line[] = [];
  const write = (level: string) => (_fields: object, message: string) => void lines.push({ level, message });
  const log: Log = {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
  };
  const provider = createRemoteProvider({
    url: service.url,
    token: "secret",
    timeoutMs: 10_000,
    fallback,
    log,
    ...more,
  });
  const prepare = (call = internalCall()) =>
    provider.prepare(call, { address, readBasket: async () => basket });
  return { lines, prepare };
}

test("a quote is that of the service, which gets the basket, the address without names and the token", async () => {
  const quote = (await createProvider().prepare())(basket);
  const eur = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });
  expect(quote).toEqual({
    lineTaxes: [1n, 1n],
    isTaxIncluded: false,
    shippingOptions: [
      {
        id: "remote",
        name: "Remote",
        price: eur(500n),
        tax: eur(5n),
        minDeliveryDays: 2,
        maxDeliveryDays: 4,
      },
    ],
    needsShippingOption: true,
  });
  const sent = { productId: "p", unitPrice: 1_000, quantity: 2, taxClass: "books", weightGrams: 300 };
  expect(service.received).toEqual([
    {
      method: "POST",
      authorization: "Bearer secret",
      body: {
        currencyCode: "EUR",
        address: {
          countryCode: "DE",
          administrativeArea: "BY",
          locality: "München",
          postalCode: "",
          addressLines: [],
        },
        lines: [sent, { ...sent, productId: "q", taxClass: "" }],
      },
    },
  ]);
});

test.each([
  ["currency", { ...basket, currencyCode: "USD" }],
  ["price", { ...basket, lines: [{ ...line, unitPrice: 1_001n }, basket.lines[1] ?? line] }],
  ["tax class", { ...basket, lines: [{ ...line, taxClass: "" }, basket.lines[1] ?? line] }],
  ["weight", { ...basket, lines: [{ ...line, weightGrams: 1n }, basket.lines[1] ?? line] }],
  ["number of lines", { ...basket, lines: [line] }],
])("a quoter rejects a basket with another %s than it was prepared with", async (_, other) => {
  const quoter = await createProvider().prepare();
  expect(() => quoter(other)).toThrow(StaleQuoterError);
});

const valid = { currencyCode: "EUR", taxIncluded: true, lineTaxes: [1, 1], shippingOptions: [] };
const option = { id: "a", name: "A", price: 5, tax: 5 };

describe("an invalid response", () => {
  test.each<[string, QuoteHandler]>([
    ["no JSON", (_, response) => respond(response, "<html>")],
    ["no object", (_, response) => respond(response, "null")],
    ["malformed UTF-8", (_, response) => response.end(Buffer.from([0x22, 0xff, 0x22]))],
    ["an empty body", (_, response) => response.end()],
    ["another currency", (_, response) => respond(response, { ...valid, currencyCode: "USD" })],
    ["a negative tax", (_, response) => respond(response, { ...valid, lineTaxes: [1, -1] })],
    ["a fraction", (_, response) => respond(response, { ...valid, lineTaxes: [1, 0.5] })],
    ["a tax as text", (_, response) => respond(response, { ...valid, lineTaxes: [1, "1"] })],
    [
      "a tax past the largest amount",
      (_, response) => respond(response, { ...valid, lineTaxes: [1, 1e15 + 1] }),
    ],
    [
      "an included tax above the price",
      (_, response) => respond(response, { ...valid, lineTaxes: [1, 2_001] }),
    ],
    [
      "added taxes whose total is past the largest amount",
      (_, response) => respond(response, { ...valid, taxIncluded: false, lineTaxes: [1e15, 0] }),
    ],
    [
      "an option whose total is past the largest amount",
      (_, response) =>
        respond(response, { ...valid, shippingOptions: [option, { ...option, id: "b", price: 1e15 }] }),
    ],
    ["too few taxes", (_, response) => respond(response, { ...valid, lineTaxes: [1] })],
    ["no taxes", (_, response) => respond(response, { ...valid, lineTaxes: undefined })],
    [
      "a negative price",
      (_, response) => respond(response, { ...valid, shippingOptions: [{ ...option, price: -5 }] }),
    ],
    [
      "an option with an included tax above its price",
      (_, response) => respond(response, { ...valid, shippingOptions: [{ ...option, tax: 6 }] }),
    ],
    ["an option twice", (_, response) => respond(response, { ...valid, shippingOptions: [option, option] })],
    [
      "a lone surrogate in a name",
      (_, response) => respond(response, { ...valid, shippingOptions: [{ ...option, name: "\ud800" }] }),
    ],
    [
      "21 options",
      (_, response) =>
        respond(response, {
          ...valid,
          shippingOptions: Array.from({ length: 21 }, (_one, at) => ({ ...option, id: `o${at}` })),
        }),
    ],
    ["64 KiB", (_, response) => respond(response, { ...valid, padding: "x".repeat(65_536) })],
    ["status 404", (_, response) => respond(response, valid, 404)],
    [
      "a redirect",
      (_, response) => {
        response.writeHead(307, { location: "/elsewhere" });
        response.end();
      },
    ],
  ])("a response with %s is replaced by the fallback, and the service is asked again", async (_, handle) => {
    service.handle = handle;
    const { lines, prepare } = createProvider();
    expect((await prepare())(basket)).toEqual(FALLBACK);
    expect((await prepare())(basket)).toEqual(FALLBACK);
    expect(service.received).toHaveLength(2);
    const message = "Quote service sent an invalid response; the quote is computed with the zones";
    expect(lines).toEqual([
      { level: "warn", message },
      { level: "debug", message },
    ]);
  });

  test("an endless response is read up to its bound", async () => {
    let sent = 0;
    const closed = new Promise<void>((resolve) => {
      service.handle = (_, response) => {
        response.on("close", resolve);
        const send = () => {
          sent += 1;
          if (!response.destroyed) response.write("x".repeat(16_384), () => setImmediate(send));
        };
        send();
      };
    });
    expect((await createProvider().prepare())(basket)).toEqual(FALLBACK);
    await closed;
    expect(sent).toBeGreaterThanOrEqual(4);
  });
});

describe("an outage", () => {
  const opened = "Quote service failed; quotes are computed with the zones";

  test.each<[string, QuoteHandler]>([
    ["status 500", (_, response) => respond(response, valid, 500)],
    ["status 429", (_, response) => respond(response, valid, 429)],
    ["a connection that closes", (_, response) => response.destroy()],
    [
      "a response that breaks off",
      (_, response) => {
        response.writeHead(200, { "content-length": "1000" });
        response.write("{", () => response.destroy());
      },
    ],
  ])("after %s the service gets no request for a while, and the fallback is used", async (_, handle) => {
    service.handle = handle;
    const { lines, prepare } = createProvider();
    for (let calls = 0; calls < 5; calls += 1) expect((await prepare())(basket)).toEqual(FALLBACK);
    expect(service.received).toHaveLength(1);
    expect(lines).toEqual([{ level: "warn", message: opened }]);
  });

  test("a service that does not listen is replaced by the fallback", async () => {
    const dead = await startQuoteService();
    await dead.close();
    const { lines, prepare } = createProvider({ url: dead.url });
    expect((await prepare())(basket)).toEqual(FALLBACK);
    expect(lines).toEqual([{ level: "warn", message: opened }]);
  });

  test.each<[string, QuoteHandler]>([
    ["never responds", () => {}],
    ["never ends its response", (_, response) => response.write("{")],
  ])("a service that %s is replaced by the fallback at the time limit", async (_, handle) => {
    service.handle = handle;
    const { lines, prepare } = createProvider({ timeoutMs: 20 });
    expect((await prepare())(basket)).toEqual(FALLBACK);
    expect(lines).toEqual([{ level: "warn", message: opened }]);
  });

  test("a call that ends before the time limit fails with its own error, and says nothing about the service", async () => {
    const abort = new AbortController();
    const ended = new Error("the deadline has passed");
    service.handle = () => abort.abort(ended);
    const { lines, prepare } = createProvider();
    await expect(prepare(internalCall(abort.signal))).rejects.toBe(ended);
    service.handle = (request, response) => respond(response, quoteFor(request));
    expect((await prepare())(basket).lineTaxes).toEqual([1n, 1n]);
    expect(lines).toEqual([]);
  });

  test("a call that ends during a trial request leaves the trial to the next call", async () => {
    service.handle = (_, response) => respond(response, valid, 503);
    const { lines, prepare } = createProvider();
    expect((await prepare())(basket)).toEqual(FALLBACK);
    const abort = new AbortController();
    const ended = new Error("the deadline has passed");
    service.handle = () => abort.abort(ended);
    const isEnded = () =>
      prepare(internalCall(abort.signal)).then(
        () => false,
        (error) => error === ended,
      );
    await expect.poll(isEnded, { timeout: 30_000 }).toBe(true);
    service.handle = (request, response) => respond(response, quoteFor(request));
    expect((await prepare())(basket).lineTaxes).toEqual([1n, 1n]);
    expect(lines.map(({ message }) => message)).toEqual([opened, "Quote service recovered"]);
  });

  test("the service is used again when a trial request succeeds", async () => {
    service.handle = (_, response) => respond(response, valid, 503);
    const { lines, prepare } = createProvider();
    expect((await prepare())(basket)).toEqual(FALLBACK);
    service.handle = (request, response) => respond(response, quoteFor(request));
    await expect.poll(async () => (await prepare())(basket).lineTaxes, { timeout: 30_000 }).toEqual([1n, 1n]);
    expect(lines.map(({ message }) => message)).toEqual([opened, "Quote service recovered"]);
  });
});
