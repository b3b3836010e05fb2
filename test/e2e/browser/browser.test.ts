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

const ways = ["default, by strangers", "Connect JSON, signed in", "gRPC-Web"];

/** A site with a page that calls the shop and sends back what came of it. */
interface Site {
  origin: string;
  server: Server;
  /** What the page is to work on. */
  job: string;
  results: Promise<unknown>;
}

let script: string;
let allowed: Site;
let stranger: Site;
let shop: TestShop;
/** Between the browser and the shop, to see what the browser sends. */
let road: Awaited<ReturnType<typeof startFlakyProxy>>;

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
    response.end(isScript ? script : request.url === "/job" ? site.job : page);
  });
  const site: Site = { origin: await listen(server), server, job: "", results };
  return site;
}

async function visit(site: Site): Promise<unknown> {
  site.job = `${road.url} ${await createProduct(shop, 100n)}`;
  road.goWrong();
  return showPage(chromium ?? "", site.origin, site.results);
}

describe.skipIf(chromium === undefined)("Chromium (skipped where the PATH has none)", () => {
  beforeAll(async () => {
    [script, allowed, stranger] = await Promise.all([bundle(), startSite(), startSite()]);
    shop = await startShop({ CORS_ORIGINS: allowed.origin });
    road = await startFlakyProxy(shop.url);
  });
  afterAll(async () => {
    for (const { server } of [allowed, stranger]) server.close();
    await road?.close();
    await shop?.close();
  });

  test("a page of an origin that is allowed calls the shop", async () => {
    const results = await visit(allowed);
    const shopped = {
      listed: { products: [{ name: "Hammer 1" }] },
      first: { order: { items: [{ quantity: "1" }] }, replayed: false },
      second: { replayed: true },
      refused: { code: Code.FailedPrecondition, reason: "OUT_OF_STOCK", preconditions: [{ type: "STOCK" }] },
    };
    expect(results).toMatchObject(Object.fromEntries(ways.map((name) => [name, shopped])));
    expect(await ordersAtShop()).toBe(ways.length);
    const sent = road.requests.map(({ method, path }) => `${method} ${path.split("/").pop()}`);
    // A stranger's read needs no preflight, and each other method only one.
    expect(sent.slice(0, 5)).toEqual([
      "GET ListProducts",
      "OPTIONS CreateOrder",
      "POST CreateOrder",
      "POST CreateOrder",
      "POST CreateOrder",
    ]);
    expect(road.requests.map((request) => request.header("authorization"))).toContain("Bearer t-1");
  });

  test("a page of any other origin gets no answer, and changes nothing", async () => {
    const before = await ordersAtShop();
    const results = await visit(stranger);
    const away = { code: Code.Unavailable, reason: "", message: expect.stringContaining("No answer") };
    const nothing = { listed: away, first: away, second: away, refused: away };
    expect(results).toMatchObject(Object.fromEntries(ways.map((name) => [name, nothing])));
    expect(road.requests.map(({ method }) => method)).not.toContain("POST");
    expect(await ordersAtShop()).toBe(before);
  });
});

async function ordersAtShop(): Promise<number> {
  const { orders } = await shop.orders.listOrders({ pageSize: 100 });
  return orders.length;
}
