import { Agent, get } from "node:http";
import type { IncomingHttpHeaders } from "node:http2";
import { text } from "node:stream/consumers";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { callKey } from "../../../../src/rpc/call/call-context.ts";
import type { CacheMetadata } from "../../../../src/rpc/call/response-metadata.ts";
import { createDeadlineInterceptor } from "../../../../src/rpc/interceptors/deadline.ts";
import type { ServerOptions } from "../../../../src/rpc/server/server.ts";
import { withPolicy } from "../../../support/rpc/altered-contract.ts";
import { connectHttp2 } from "../../../support/rpc/raw-http2.ts";
import {
  getProductBytes,
  methodUrl,
  post,
  transportNames,
  transports,
} from "../../../support/rpc/rpc-clients.ts";
import { expectNoCrash, startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct, createProduct } = CatalogService.method;
const shop = "https://shop.example";
const asJson = new URLSearchParams({ connect: "v1", encoding: "json", message: '{"sku": "A"}' });
const asBinary = new URLSearchParams({
  connect: "v1",
  encoding: "proto",
  base64: "1",
  message: base64Encode(getProductBytes("A"), "url"),
});

expectNoCrash();

/** Starts a server whose cache metadata and product name a test sets. An empty name: the product does not exist. */
async function startCached(options: Partial<ServerOptions> = {}) {
  const state: { metadata: CacheMetadata | undefined; name: string } = {
    metadata: { state: "memory", etag: "abc", ageMs: 61_999 },
    name: "Hammer",
  };
  const server = await startRpcServer({
    ...options,
    routes: (router) => {
      const product = () => {
        if (state.name === "") throw new ConnectError("There is no such product.", Code.NotFound);
        return { product: { sku: "A", name: state.name } };
      };
      router.service(
        CatalogService,
        { getProduct: product },
        {
          interceptors: [
            createDeadlineInterceptor(),
            (next) => (request) => {
              const call = request.contextValues.get(callKey);
              if (call !== undefined) call.responseMetadata.cache = state.metadata;
              return next(request);
            },
          ],
        },
      );
    },
  });
  const getWith = (headers: Record<string, string> = {}, query = asJson) =>
    fetch(`${methodUrl(server.url, getProduct)}?${query}`, { headers });
  return { ...server, state, getWith };
}

/** Returns the headers about caching and content. */
function cacheHeadersOf(response: Response): Record<string, string | null> {
  const names = ["x-cartwright-cache", "cache-control", "age", "etag", "vary", "content-type"];
  return Object.fromEntries(names.map((name) => [name, response.headers.get(name)]));
}

const fresh = {
  "x-cartwright-cache": "memory",
  "cache-control": "public, max-age=1",
  age: null,
  etag: 'W/"abc"',
  vary: "Accept-Encoding",
};
const withoutCaching = { "cache-control": null, age: null, etag: null, vary: null };

describe("a GET", () => {
  test("a GET states how long its response is fresh, and its etag", async () => {
    const { getWith } = await startCached();
    const response = await getWith();
    expect(response.status).toBe(200);
    expect(cacheHeadersOf(response)).toEqual({ ...fresh, "content-type": "application/json" });
    expect(await response.json()).toMatchObject({ product: { name: "Hammer" } });
  });

  test("without http_max_age a GET states the times for which the service caches it, and its age", async () => {
    const service = withPolicy(CatalogService, "GetProduct", ({ cache }) => {
      if (cache !== undefined) delete cache.httpMaxAge;
    });
    const { getWith } = await startCached({ services: [service] });
    expect(cacheHeadersOf(await getWith())).toEqual({
      ...fresh,
      "cache-control": "public, max-age=900, stale-while-revalidate=60",
      age: "61",
      "content-type": "application/json",
    });
  });

  test("a GET with the etag gets 304 until the content changes", async () => {
    const { getWith, state } = await startCached();
    const first = await getWith();
    const seen = { "if-none-match": first.headers.get("etag") ?? "" };
    state.metadata = { state: "redis", etag: "abc", ageMs: 0 };
    const again = await getWith(seen);
    expect(again.status).toBe(304);
    expect(cacheHeadersOf(again)).toEqual({
      ...fresh,
      "x-cartwright-cache": "redis",
      "content-type": null,
    });
    expect([...again.headers.keys()].filter((name) => name.startsWith("content-"))).toEqual([]);
    expect(await again.text()).toBe("");
    state.metadata = { state: "miss", etag: "def", ageMs: 0 };
    state.name = "Saw";
    const changed = await getWith(seen);
    expect(changed.status).toBe(200);
    expect(changed.headers.get("etag")).toBe('W/"def"');
    expect(await changed.json()).toMatchObject({ product: { name: "Saw" } });
  });

  test.each([
    ["*", 304],
    ['"abc"', 304],
    ['W/"abc"', 304],
    ['"x", W/"y,z" ,,"abc"', 304],
    ['"abcd", "ab"', 200],
    ["abc", 200],
    ["", 200],
    ['"abc" "x"', 200],
    ['"abc", *', 200],
    ['"abc", "x', 200],
    ['w/"abc"', 200],
  ])("a GET with If-None-Match: %s gets %i", async (tags, status) => {
    const { getWith } = await startCached();
    expect((await getWith({ "if-none-match": tags })).status).toBe(status);
  });

  test("a GET has the same etag for the same content, in each encoding and compression", async () => {
    const { getWith, state } = await startCached();
    state.name = "x".repeat(10_000);
    for (const query of [asJson, asBinary]) {
      for (const encoding of ["gzip", "identity"]) {
        const response = await getWith({ "accept-encoding": encoding }, query);
        expect(response.headers.get("content-encoding")).toBe(encoding === "gzip" ? "gzip" : null);
        expect(cacheHeadersOf(response)).toMatchObject(fresh);
        await response.arrayBuffer();
        const again = await getWith({ "accept-encoding": encoding, "if-none-match": 'W/"abc"' }, query);
        expect(again.status).toBe(304);
        expect(again.headers.get("content-encoding")).toBeNull();
      }
    }
  });

  test("a GET that fails is not stored, and never 304", async () => {
    const { getWith, state, url } = await startCached();
    state.name = "";
    for (const tags of ["", "*"]) {
      const response = await getWith({ "if-none-match": tags });
      expect(response.status).toBe(404);
      expect(cacheHeadersOf(response)).toMatchObject({
        ...withoutCaching,
        "x-cartwright-cache": "memory",
        "cache-control": "no-store",
      });
      expect(await response.json()).toMatchObject({ code: "not_found" });
    }
    const rejected = await fetch(`${methodUrl(url, createProduct)}?${asJson}`);
    expect(rejected.status).toBe(405);
    expect(cacheHeadersOf(rejected)).toMatchObject({
      ...withoutCaching,
      "x-cartwright-cache": null,
      "cache-control": "no-store",
    });
  });

  test.each(["policy", "metadata"])("a GET of a method without cache %s is not stored", async (missing) => {
    const service = withPolicy(CatalogService, "GetProduct", (policy) => {
      if (missing === "policy") policy.cache = undefined;
    });
    const { getWith, state } = await startCached({ services: [service] });
    if (missing === "metadata") state.metadata = undefined;
    const response = await getWith({ "if-none-match": 'W/"abc"' });
    expect(response.status).toBe(200);
    expect(cacheHeadersOf(response)).toMatchObject({ ...withoutCaching, "cache-control": "no-store" });
  });

  test("a GET without an etag is stored, and never 304", async () => {
    const { getWith, state } = await startCached();
    state.metadata = { state: "bypass", etag: "", ageMs: 0 };
    const response = await getWith({ "if-none-match": '"", *' });
    expect(response.status).toBe(200);
    expect(cacheHeadersOf(response)).toMatchObject({
      ...fresh,
      "x-cartwright-cache": "bypass",
      etag: null,
    });
  });
});

test("the response to a POST states only the result of the cache", async () => {
  const { url, state } = await startCached();
  for (const [name, status] of [["Hammer", 200] as const, ["", 404] as const]) {
    state.name = name;
    const response = await post(url, getProduct, { sku: "A" }, { "if-none-match": 'W/"abc"' });
    expect(response.status).toBe(status);
    expect(cacheHeadersOf(response)).toMatchObject({ ...withoutCaching, "x-cartwright-cache": "memory" });
  }
});

test.each(transportNames)(
  "a response by %s states the result of the cache, also for errors",
  async (name) => {
    const { url, state } = await startCached();
    const { getProduct } = createClient(CatalogService, transports(url)[name]);
    const send = async (cacheState: CacheMetadata["state"]) => {
      state.metadata = { state: cacheState, etag: "abc", ageMs: 0 };
      let sent: string | null = null;
      const onHeader = (header: Headers) => {
        sent = header.get("x-cartwright-cache");
      };
      await getProduct({ key: { case: "sku", value: "A" } }, { onHeader }).catch((error: unknown) => {
        sent ??= ConnectError.from(error).metadata.get("x-cartwright-cache");
      });
      return sent;
    };
    for (const cacheState of ["memory", "redis", "miss", "bypass"] as const) {
      expect(await send(cacheState)).toBe(cacheState);
    }
    state.name = "";
    expect(await send("redis")).toBe("redis");
  },
);

test("after a 304 its HTTP/1.1 connection carries the next request", async () => {
  const { url } = await startCached();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const send = async (tag: string) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const request = get(
      `${methodUrl(url, getProduct)}?${asJson}`,
      { agent, headers: { "if-none-match": tag } },
      async (response) => resolve(`${response.statusCode} ${(await text(response)).length > 0}`),
    ).on("error", reject);
    return `${await promise} ${request.reusedSocket}`;
  };
  expect(await send('"abc"')).toBe("304 false false");
  expect(await send('"abc"')).toBe("304 false true");
  expect(await send('"def"')).toBe("200 true true");
});

test("a 304 ends its HTTP/2 stream", async () => {
  const { url } = await startCached();
  const session = connectHttp2(url);
  const path = `${new URL(methodUrl(url, getProduct)).pathname}?${asBinary}`;
  const send = async (tag: string) => {
    const stream = session.request({ ":path": path, "if-none-match": tag });
    let headers: IncomingHttpHeaders & { ":status"?: number } = {};
    stream.on("response", (received) => {
      headers = received;
    });
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return { headers, body: Buffer.concat(chunks), code: stream.rstCode };
  };
  for (let round = 0; round < 2; round += 1) {
    const again = await send('W/"abc"');
    expect(again).toMatchObject({ headers: { ":status": 304, etag: 'W/"abc"' }, code: 0 });
    expect(again.body).toHaveLength(0);
    expect(again.headers["content-type"]).toBeUndefined();
  }
  const other = await send('W/"def"');
  expect(other).toMatchObject({ headers: { ":status": 200, "content-type": "application/proto" }, code: 0 });
});

test.each([["https://shop.example", "Origin, Accept-Encoding"] as const, ["*", "Accept-Encoding"] as const])(
  "a page of %s may read these headers, also of a 304",
  async (origin, vary) => {
    const { getWith } = await startCached({ corsOrigins: [origin] });
    for (const tags of ["", "*"]) {
      const response = await getWith({ "if-none-match": tags, origin: shop });
      expect(response.status).toBe(tags === "" ? 200 : 304);
      expect(response.headers.get("access-control-allow-origin")).toBe(origin);
      expect(response.headers.get("vary")).toBe(vary);
      const exposed = response.headers.get("access-control-expose-headers")?.toLowerCase().split(", ");
      expect(exposed).toEqual(expect.arrayContaining(["etag", "age", "x-cartwright-cache"]));
    }
  },
);
