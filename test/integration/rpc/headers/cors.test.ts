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
  test("may send the methods and headers that calls need", async () => {
    const { url } = await startRpcServer({ corsOrigins: [allowedOrigin] });
    const answer = await preflight(url, allowedOrigin);
    expect(answer.status).toBe(204);
    expect(answer.headers.get("access-control-allow-origin")).toBe(allowedOrigin);
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

  test("may read responses and errors", async () => {
    const { url } = await startRpcServer({ corsOrigins: ["https://other.example", allowedOrigin] });
    for (const body of [{ sku: "A" }, {}]) {
      const answer = await post(url, getProduct, body, { origin: allowedOrigin });
      expect(answer.headers.get("access-control-allow-origin")).toBe(allowedOrigin);
      expect(answer.headers.get("access-control-expose-headers")?.toLowerCase()).toContain("grpc-status");
      expect(answer.headers.get("vary")).toBe("Origin");
    }
  });
});

test("a page of another origin may neither send nor read", async () => {
  const { url } = await startRpcServer({ corsOrigins: [allowedOrigin] });
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

test("the response to a caller without an origin varies by origin", async () => {
  const { url } = await startRpcServer({ corsOrigins: [allowedOrigin] });
  const answer = await post(url, getProduct, { sku: "A" });
  expect(answer.headers.get("access-control-allow-origin")).toBeNull();
  expect(answer.headers.get("vary")).toBe("Origin");
});

test("* allows every page", async () => {
  const { url } = await startRpcServer({ corsOrigins: ["*"] });
  const answer = await preflight(url, "https://any.example");
  expect(answer.headers.get("access-control-allow-origin")).toBe("*");
  expect(answer.headers.get("vary")).toBeNull();
  // An HTTP cache may serve the response to a caller without an origin to a page.
  const withoutOrigin = await post(url, getProduct, { sku: "A" });
  expect(withoutOrigin.headers.get("access-control-allow-origin")).toBe("*");
});

test("no page is allowed by default", async () => {
  const { url } = await startRpcServer();
  expect((await preflight(url, allowedOrigin)).status).not.toBe(204);
  const answer = await post(url, getProduct, { sku: "A" }, { origin: allowedOrigin });
  expect(answer.status).toBe(200);
  expect([...answer.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
  expect(answer.headers.get("vary")).toBeNull();
});
