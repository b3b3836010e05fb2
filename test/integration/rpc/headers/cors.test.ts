import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { methodUrl, post } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct } = CatalogService.method;
const allowedOrigin = "https://shop.example";

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

describe("a page of an allowed origin", () => {
  test("a page of an allowed origin may send the methods and headers that calls need", async () => {
    const { url } = await startRpcServer({ corsOrigins: [allowedOrigin] });
    const response = await preflight(url, allowedOrigin);
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-origin")).toBe(allowedOrigin);
    expect(response.headers.get("access-control-allow-methods")).toBe("POST, GET");
    const allowed = response.headers.get("access-control-allow-headers")?.toLowerCase().split(", ");
    const needed = [
      "content-type",
      "connect-protocol-version",
      "connect-timeout-ms",
      "x-grpc-web",
      "authorization",
      "x-order-token",
      "if-none-match",
      "traceparent",
      "tracestate",
      "baggage",
    ];
    expect(allowed).toEqual(expect.arrayContaining(needed));
    expect(response.headers.get("access-control-max-age")).toBe("7200");
    expect(response.headers.get("vary")).toBe("Origin");
  });

  test("a page of an allowed origin may read responses and errors", async () => {
    const { url } = await startRpcServer({ corsOrigins: ["https://other.example", allowedOrigin] });
    for (const body of [{ sku: "A" }, {}]) {
      const response = await post(url, getProduct, body, { origin: allowedOrigin });
      expect(response.headers.get("access-control-allow-origin")).toBe(allowedOrigin);
      expect(response.headers.get("access-control-expose-headers")?.toLowerCase()).toContain("grpc-status");
      expect(response.headers.get("vary")).toBe("Origin");
    }
  });
});

test("a page of an allowed origin may send the headers that the operator allows", async () => {
  const { url } = await startRpcServer({
    corsOrigins: [allowedOrigin],
    corsHeaders: ["x-shop-id", "x-page"],
  });
  const allowed = async (origin: string) =>
    (await preflight(url, origin)).headers.get("access-control-allow-headers")?.toLowerCase().split(", ");
  expect(await allowed(allowedOrigin)).toEqual(
    expect.arrayContaining(["x-shop-id", "x-page", "content-type", "authorization"]),
  );
  expect(await allowed("https://evil.example")).toBeUndefined();
});

test("a page of another origin may neither send nor read", async () => {
  const { url } = await startRpcServer({ corsOrigins: [allowedOrigin] });
  for (const response of [
    await preflight(url, "https://evil.example"),
    await preflight(url, "null"),
    await post(url, getProduct, { sku: "A" }, { origin: "https://shop.example.evil.example" }),
  ]) {
    expect(response.headers.get("access-control-allow-origin")).toBeNull();
    expect(response.headers.get("access-control-allow-headers")).toBeNull();
    expect(response.headers.get("vary")).toBe("Origin");
  }
});

test("the response to a caller without an origin varies by origin", async () => {
  const { url } = await startRpcServer({ corsOrigins: [allowedOrigin] });
  const response = await post(url, getProduct, { sku: "A" });
  expect(response.headers.get("access-control-allow-origin")).toBeNull();
  expect(response.headers.get("vary")).toBe("Origin");
});

test("* allows every page", async () => {
  const { url } = await startRpcServer({ corsOrigins: ["*"] });
  const response = await preflight(url, "https://any.example");
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
  expect(response.headers.get("vary")).toBeNull();
  // An HTTP cache may serve the response to a caller without an origin to a page.
  const withoutOrigin = await post(url, getProduct, { sku: "A" });
  expect(withoutOrigin.headers.get("access-control-allow-origin")).toBe("*");
});

test("no page is allowed by default", async () => {
  const { url } = await startRpcServer();
  expect((await preflight(url, allowedOrigin)).status).not.toBe(204);
  const response = await post(url, getProduct, { sku: "A" }, { origin: allowedOrigin });
  expect(response.status).toBe(200);
  expect([...response.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
  expect(response.headers.get("vary")).toBeNull();
});
