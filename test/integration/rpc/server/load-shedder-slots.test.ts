import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { anonymous } from "../../../../src/kernel/principal.ts";
import { holdLists } from "../../../support/blocking-handler.ts";
import {
  connectHttp2,
  expectNoCrash,
  expectUp,
  frame,
  getProductBytes,
  getProductPath,
  grpcStatus,
  openGrpc,
  post,
  start,
} from "../../../support/rpc-server.ts";

const { getProduct } = CatalogService.method;
const listProductsPath = `/${CatalogService.typeName}/ListProducts`;

expectNoCrash();

test.each(["identity", "gzip"])("who does not take his answers keeps nobody out (%s)", async (encoding) => {
  const { url } = await start({
    maxCalls: 2,
    catalog: { listProducts: () => ({ products: [{ name: "x".repeat(100_000) }] }) },
  });
  // Nothing of an answer's message fits through these.
  const slow = connectHttp2(url, { settings: { initialWindowSize: 0 } });
  for (let count = 0; count < 10; count += 1) {
    // A call that names an encoding goes another way than most.
    const answer = openGrpc(slow, listProductsPath, { "grpc-encoding": encoding });
    answer.end(frame(new Uint8Array()));
    await new Promise((resolve) => answer.once("response", resolve));
  }
  await expectUp(url);
});

test("of the answers that nobody takes, the oldest are given up when they are too much", async () => {
  const { url } = await start({
    limits: { maxUnsentBytes: 250_000 },
    catalog: { listProducts: () => ({ products: [{ name: "x".repeat(100_000) }] }) },
  });
  const slow = connectHttp2(url, { settings: { initialWindowSize: 0 } });
  const ended: number[] = [];
  for (let index = 0; index < 4; index += 1) {
    const answer = openGrpc(slow, listProductsPath);
    answer.once("close", () => ended.push(index));
    answer.end(frame(new Uint8Array()));
    await new Promise((resolve) => answer.once("response", resolve));
  }
  await expect.poll(() => ended).toEqual([0, 1]);
  await expectUp(url);
});

test.each(["identity", "gzip"])(
  "calls that stall, and then come all at once, get no more room than others (%s)",
  async (encoding) => {
    const lists = holdLists();
    const { url } = await start({ maxCalls: 2, catalog: lists.catalog });
    const session = connectHttp2(url);
    const stalled: ReturnType<typeof openGrpc>[] = [];
    for (let wave = 0; wave < 2; wave += 1) {
      for (let count = 0; count < 2; count += 1) {
        stalled.push(
          openGrpc(session, listProductsPath, { "grpc-timeout": "9S", "grpc-encoding": encoding }),
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 1_200));
    }
    const statuses = stalled.map((call) => {
      call.end(frame(new Uint8Array()));
      return grpcStatus(call);
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(lists.count()).toBe(2);
    lists.letGo();
    expect((await Promise.all(statuses)).toSorted()).toEqual(["0", "0", "14", "14"]);
  },
);

test.each(["identity", "gzip"])(
  "a call that waits for others keeps its place, however long that takes (%s)",
  async (encoding) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { url } = await start({
      maxCalls: 2,
      authenticate: async () => {
        await promise;
        return anonymous;
      },
    });
    const session = connectHttp2(url);
    const headers = { authorization: "Bearer a", "grpc-timeout": "9S", "grpc-encoding": encoding };
    const waiting = [0, 1].map(() => {
      const call = openGrpc(session, getProductPath, headers);
      call.end(frame(getProductBytes("A")));
      return grpcStatus(call);
    });
    await new Promise((resolve) => setTimeout(resolve, 1_300));
    const late = openGrpc(session, getProductPath, headers);
    late.end(frame(getProductBytes("A")));
    expect(await grpcStatus(late)).toBe(String(Code.Unavailable));
    resolve();
    expect(await Promise.all(waiting)).toEqual(["0", "0"]);
  },
);

test("a web page can read that there is no room, by either way", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { url } = await start({
    maxCalls: 1,
    corsOrigins: ["https://a.example"],
    catalog: {
      listProducts: async () => {
        await promise;
        return {};
      },
    },
  });
  const waiting = post(url, CatalogService.method.listProducts, {});
  await expect.poll(async () => (await post(url, getProduct, { sku: "A" })).status).toBe(503);
  const headers = { origin: "https://a.example" };
  const plain = await post(url, getProduct, { sku: "A" }, headers);
  const unusual = await post(
    url,
    getProduct,
    { sku: "A" },
    { ...headers, "content-type": "application/json; charset=utf-8" },
  );
  const got = await fetch(`${url}${getProductPath}?encoding=json&message={}`, { headers });
  for (const answer of [plain, unusual, got]) {
    expect(answer.status).toBe(503);
    expect(answer.headers.get("access-control-allow-origin")).toBe("https://a.example");
    expect(answer.headers.get("vary")).toBe("Origin");
  }
  expect(got.headers.get("cache-control")).toBe("no-store");
  resolve();
  expect((await waiting).status).toBe(200);
});
