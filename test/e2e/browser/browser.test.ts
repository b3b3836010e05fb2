import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Code } from "../../../src/client/client.ts";
import { listen, startFlakyProxy } from "../../support/client/flaky-proxy.ts";
import { createProduct } from "../../support/client/product-fixture.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { chromium, showPage } from "./chromium.ts";

const transports = ["default, anonymous", "Connect JSON, with a token", "gRPC-Web"];

/** A site whose page calls the service and posts the results. */
interface Site {
  origin: string;
  server: Server;
  /** The address of the service and a product id, for the page. */
  input: string;
  results: Promise<unknown>;
}

let script: string;
let allowed: Site;
let otherOrigin: Site;
let shop: TestShop;
/** Records the requests of the browser. */
let proxy: Awaited<ReturnType<typeof startFlakyProxy>>;

async function bundle(): Promise<string> {
  const output = await build({
    configFile: false,
    logLevel: "silent",
    build: {
      write: false,
      target: "esnext",
      modulePreload: false,
      rolldownOptions: { input: join(import.meta.dirname, "page.ts") },
    },
  });
  return "output" in output ? output.output[0].code : "";
}

async function startSite(): Promise<Site> {
  const { promise: results, resolve } = Promise.withResolvers<unknown>();
  const server = createServer(async (request, response) => {
    if (request.url === "/results") resolve(await json(request));
    const isScript = request.url === "/page.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    const page = '<!doctype html><script type="module" src="/page.js"></script>';
    response.end(isScript ? script : request.url === "/input" ? site.input : page);
  });
  const site: Site = { origin: await listen(server), server, input: "", results };
  return site;
}

async function visit(site: Site): Promise<unknown> {
  site.input = `${proxy.url} ${await createProduct(shop, 100n)}`;
  proxy.failNext();
  return showPage(chromium ?? "", site.origin, site.results);
}

describe.skipIf(chromium === undefined)("Chromium (skipped where the PATH has none)", () => {
  beforeAll(async () => {
    [script, allowed, otherOrigin] = await Promise.all([bundle(), startSite(), startSite()]);
    shop = await startShop({ CORS_ORIGINS: allowed.origin });
    proxy = await startFlakyProxy(shop.url);
  });
  afterAll(async () => {
    for (const { server } of [allowed, otherOrigin]) server.close();
    await proxy?.close();
    await shop?.close();
  });

  test("a page of an allowed origin can call the service", async () => {
    const results = await visit(allowed);
    const completed = {
      listed: { products: [{ name: "Hammer 1" }] },
      first: { order: { items: [{ quantity: "1" }] }, replayed: false },
      second: { replayed: true },
      refused: { code: Code.FailedPrecondition, reason: "OUT_OF_STOCK", preconditions: [{ type: "STOCK" }] },
    };
    expect(results).toMatchObject(Object.fromEntries(transports.map((name) => [name, completed])));
    expect(await countOrders()).toBe(transports.length);
    const sent = proxy.requests.map(({ method, path }) => `${method} ${path.split("/").pop()}`);
    // An anonymous read needs no preflight, and each other method only one.
    expect(sent.slice(0, 5)).toEqual([
      "GET ListProducts",
      "OPTIONS CreateOrder",
      "POST CreateOrder",
      "POST CreateOrder",
      "POST CreateOrder",
    ]);
    expect(proxy.requests.map((request) => request.header("authorization"))).toContain("Bearer t-1");
  });

  test("a page of another origin gets no response and changes nothing", async () => {
    const before = await countOrders();
    const results = await visit(otherOrigin);
    const unavailable = {
      code: Code.Unavailable,
      reason: "",
      message: expect.stringContaining("No response"),
    };
    const blocked = { listed: unavailable, first: unavailable, second: unavailable, refused: unavailable };
    expect(results).toMatchObject(Object.fromEntries(transports.map((name) => [name, blocked])));
    expect(proxy.requests.map(({ method }) => method)).not.toContain("POST");
    expect(await countOrders()).toBe(before);
  });
});

async function countOrders(): Promise<number> {
  const { orders } = await shop.orders.listOrders({ pageSize: 100 });
  return orders.length;
}
