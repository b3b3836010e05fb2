import { BlockList } from "node:net";
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { getCall } from "../../../../src/rpc/call/call-context.ts";
import { post, transportNames, transports } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

test("an X-Forwarded-For from an untrusted peer is logged once", async () => {
  const { url, lines } = await startRpcServer();
  const headers = { "x-forwarded-for": "203.0.113.9" };
  for (let count = 0; count < 3; count += 1)
    await post(url, CatalogService.method.getProduct, { sku: "A" }, headers);
  expect(lines.filter(({ message }) => message.includes("TRUSTED_PROXIES"))).toHaveLength(1);
});

describe.each(transportNames)("by %s", (name) => {
  const callAs = async (trustedProxies: BlockList) => {
    const { url } = await startRpcServer({
      trustedProxies,
      catalog: { getProduct: (_, context) => ({ product: { name: getCall(context).clientAddress } }) },
    });
    const client = createClient(CatalogService, transports(url)[name]);
    const headers = { "x-forwarded-for": "198.51.100.1, 203.0.113.9" };
    const response = await client.getProduct({ key: { case: "sku", value: "A" } }, { headers });
    return response.product?.name;
  };

  test("an untrusted caller cannot choose its address", async () => {
    expect(await callAs(new BlockList())).toBe("127.0.0.1");
  });

  test("a trusted proxy states the address of the caller", async () => {
    const local = new BlockList();
    local.addAddress("127.0.0.1");
    expect(await callAs(local)).toBe("203.0.113.9");
  });
});
