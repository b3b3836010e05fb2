import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { methodUrl, post } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct } = CatalogService.method;
const shop = "https://shop.example";

function preflight(url: string, origin: string) {
  return fetch(methodUrl(url, getProduct), {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type,connect-protocol-version,authorization",
    },
  });
}

describe("a page of a listed origin", () => {
  test("is allowed to ask what calls need", async () => {
    const { url } = await startRpcServer({ corsOrigins: [shop] });
    const answer = await preflight(url, shop);
    expect(answer.status).toBe(204);
    expect(answer.headers.get("access-control-allow-origin")).toBe(shop);
    expect(answer.headers.get("access-control-allow-methods")).toBe("POST, GET");
    const allowed = answer.headers.get("access-control-allow-headers")?.toLowerCase().split(", ");
    const needed = [
      "content-type",
      "connect-protocol-version",
      "connect-timeout-ms",
      "x-grpc-web",
      "authorization",
      "if-none-match",
    ];
    expect(allowed).toEqual(expect.arrayContaining(needed));
    expect(answer.headers.get("access-control-max-age")).toBe("7200");
    expect(answer.headers.get("vary")).toBe("Origin");
  });

  test("may read answers, errors too", async () => {
    const { url } = await startRpcServer({ corsOrigins: ["https://other.example", shop] });
    for (const body of [{ sku: "A" }, {}]) {
      const answer = await post(url, getProduct, body, { origin: shop });
      expect(answer.headers.get("access-control-allow-origin")).toBe(shop);
      expect(answer.headers.get("access-control-expose-headers")?.toLowerCase()).toContain("grpc-status");
      expect(answer.headers.get("vary")).toBe("Origin");
    }
  });
});

test("a page of another origin may not", async () => {
  const { url } = await startRpcServer({ corsOrigins: [shop] });
  for (const answer of [
    await preflight(url, "https://evil.example"),
    await preflight(url, "null"),
    await post(url, getProduct, { sku: "A" }, { origin: "https://shop.example.evil.example" }),
  ]) {
    expect(answer.headers.get("access-control-allow-origin")).toBeNull();
    expect(answer.headers.get("access-control-allow-headers")).toBeNull();
    expect(answer.headers.get("vary")).toBe("Origin");
  }
});

test("callers without an origin are told that others get other answers", async () => {
  const { url } = await startRpcServer({ corsOrigins: [shop] });
  const answer = await post(url, getProduct, { sku: "A" });
  expect(answer.headers.get("access-control-allow-origin")).toBeNull();
  expect(answer.headers.get("vary")).toBe("Origin");
});

test("* is every page", async () => {
  const { url } = await startRpcServer({ corsOrigins: ["*"] });
  const answer = await preflight(url, "https://any.example");
  expect(answer.headers.get("access-control-allow-origin")).toBe("*");
  expect(answer.headers.get("vary")).toBeNull();
  // What a caller without an origin is given, a cache may give to a page.
  const unasked = await post(url, getProduct, { sku: "A" });
  expect(unasked.headers.get("access-control-allow-origin")).toBe("*");
});

test("no page is listed by default", async () => {
  const { url } = await startRpcServer();
  expect((await preflight(url, shop)).status).not.toBe(204);
  const answer = await post(url, getProduct, { sku: "A" }, { origin: shop });
  expect(answer.status).toBe(200);
  expect([...answer.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
  expect(answer.headers.get("vary")).toBeNull();
});
