import { request as httpRequest } from "node:http";
import { json } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ServerReflection } from "../../../../gen/grpc/reflection/v1/reflection_pb.ts";
import { methodUrl, post } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

/** An error in the JSON of Connect. */
const errorSchema = z.object({
  code: z.string(),
  message: z.string(),
  details: z.array(z.object({ debug: z.object({ reason: z.string() }) })),
});

const { getProduct, createProduct, importProducts } = CatalogService.method;

/** Returns the error of a response in the JSON of Connect. */
async function errorOf(response: Response) {
  expect(response.headers.get("content-type")).toBe("application/json");
  const { code, message, details } = errorSchema.parse(await response.json());
  return { code, message, reason: details[0]?.debug.reason };
}

describe("an unsupported content type", () => {
  test("the content type that curl sends by default is 415 with the header to send", async () => {
    const { url } = await startRpcServer();
    const type = "application/x-www-form-urlencoded";
    const response = await post(url, getProduct, '{"sku": "A"}', { "content-type": type });
    expect(response.status).toBe(415);
    expect(response.headers.get("accept-post")).toContain("application/json, application/proto");
    const error = await errorOf(response);
    expect(error).toMatchObject({ code: "unknown", reason: "UNSUPPORTED_MEDIA_TYPE" });
    expect(error.message).toContain(type);
    expect(error.message).toContain("-H 'content-type: application/json'");
  });

  test.each(["multipart/form-data; boundary=x", "json", "*/*", "text/plain"])(
    "%s, a likely mistake, is 415 in JSON",
    async (type) => {
      const { url } = await startRpcServer();
      const response = await post(url, getProduct, "{}", { "content-type": type });
      expect(response.status).toBe(415);
      expect((await errorOf(response)).message).toContain("-H 'content-type: application/json'");
    },
  );

  test("a missing content type is 415", async () => {
    const { url } = await startRpcServer();
    const response = await fetch(methodUrl(url, getProduct), { method: "POST", body: new Uint8Array([1]) });
    expect(response.status).toBe(415);
    expect((await errorOf(response)).message).toMatch(/^The content type is missing\. Send JSON with/);
  });

  test.each(["application/grpc+thrift", "application/grpc-web+thrift", "image/jpeg"])(
    "%s is 415 with a text",
    async (type) => {
      const { url } = await startRpcServer();
      const response = await post(url, getProduct, "", { "content-type": type });
      expect(response.status).toBe(415);
      expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
      expect(await response.text()).toContain(`Unsupported content type: ${type}.`);
    },
  );

  test("a long content type is truncated", async () => {
    const { url } = await startRpcServer();
    const type = `application/${"x".repeat(5_000)}`;
    const response = await post(url, getProduct, "{}", { "content-type": type });
    expect(response.status).toBe(415);
    expect((await errorOf(response)).message.length).toBeLessThan(500);
  });

  test("a unary content type for a stream is 415 with the types of streams", async () => {
    const { url } = await startRpcServer();
    const response = await fetch(`${url}/${CatalogService.typeName}/${importProducts.name}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect(response.status).toBe(415);
    expect(response.headers.get("accept-post")).toContain("application/connect+json");
    expect((await errorOf(response)).message).toContain("application/connect+json");
  });

  test.each(["encoding=xml&message={}", "message={}", ""])(
    "a GET with the query %j is 415",
    async (query) => {
      const { url } = await startRpcServer();
      const response = await fetch(`${methodUrl(url, getProduct)}?${query}`);
      expect(response.status).toBe(415);
      expect((await errorOf(response)).message).toContain("?encoding=json&message=%7B%7D");
    },
  );
});

describe("an unsupported method", () => {
  test("a GET of a method with side effects is 405 and says to send POST", async () => {
    const { url } = await startRpcServer();
    const response = await fetch(`${methodUrl(url, createProduct)}?encoding=json&message={}`);
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("POST");
    expect(response.headers.get("cache-control")).toBe("no-store");
    const error = await errorOf(response);
    expect(error).toMatchObject({ code: "unknown", reason: "METHOD_NOT_ALLOWED" });
    expect(error.message).toBe(
      "CreateProduct cannot be called by GET. Send POST with -H 'content-type: application/json'.",
    );
  });

  test.each(["PUT", "DELETE", "PATCH", "OPTIONS"])("%s is 405", async (method) => {
    const { url } = await startRpcServer();
    const response = await fetch(methodUrl(url, getProduct), { method });
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("POST, GET");
    expect((await errorOf(response)).message).toBe(
      `GetProduct cannot be called by ${method}. Send POST with -H 'content-type: application/json', or GET with ?encoding=json&message=%7B%7D.`,
    );
  });

  test("a HEAD is 405 without a body", async () => {
    const { url } = await startRpcServer();
    const response = await fetch(methodUrl(url, getProduct), { method: "HEAD" });
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("POST, GET");
    expect(await response.text()).toBe("");
  });
});

test("an empty body, which curl sends without -d, is an error that says what to send", async () => {
  const { url } = await startRpcServer();
  const response = await post(url, getProduct, "", { "content-type": "application/json" });
  expect(response.status).toBe(400);
  expect(await errorOf(response)).toMatchObject({
    code: "invalid_argument",
    message: "The message is empty. Send a JSON object: {} leaves all fields at their defaults.",
  });
});

test("a bidirectional stream over HTTP/1.1 is 505 and says that it needs HTTP/2", async () => {
  const { url } = await startRpcServer();
  const { name } = ServerReflection.method.serverReflectionInfo;
  const received = await new Promise<unknown>((resolve, reject) => {
    const headers = { "content-type": "application/connect+json" };
    const call = httpRequest(`${url}/${ServerReflection.typeName}/${name}`, { method: "POST", headers });
    call.on("error", reject);
    call.on("response", async (response) => {
      resolve([response.statusCode, response.headers.connection, await json(response)]);
    });
    call.end();
  });
  expect(received).toMatchObject([
    505,
    "close",
    { code: "unknown", message: expect.stringContaining("needs HTTP/2"), details: [{}] },
  ]);
});
