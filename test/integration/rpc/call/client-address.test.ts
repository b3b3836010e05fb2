import { BlockList } from "node:net";
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { getCall } from "../../../../src/rpc/call/call-context.ts";
import { resolveClientAddress } from "../../../../src/rpc/call/client-address.ts";
import { post, transportNames, transports } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const trusted = new BlockList();
trusted.addSubnet("10.0.0.0", 8, "ipv4");
trusted.addSubnet("fd00::", 8, "ipv6");

test.each<[string, string | undefined, string | string[] | undefined, string]>([
  ["no proxy", "203.0.113.9", undefined, "203.0.113.9"],
  ["a peer that has gone", undefined, "203.0.113.9", ""],
  ["a header from a stranger", "203.0.113.9", "198.51.100.1", "203.0.113.9"],
  ["a header from our proxy", "10.0.0.1", "203.0.113.9", "203.0.113.9"],
  ["a lie in front of what our proxy wrote", "10.0.0.1", "127.0.0.1, 203.0.113.9", "203.0.113.9"],
  ["a lie that names our proxy", "10.0.0.1", "198.51.100.1, 10.0.0.7, 203.0.113.9", "203.0.113.9"],
  ["two of our proxies", "10.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"],
  ["our proxies alone", "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"],
  ["several headers", "10.0.0.1", ["198.51.100.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9"],
  ["garbage", "10.0.0.1", "unknown", "10.0.0.1"],
  ["nothing", "10.0.0.1", "", "10.0.0.1"],
  ["garbage behind which anything may stand", "10.0.0.1", "198.51.100.1, <script>, 10.0.0.2", "10.0.0.2"],
  ["numbers that are no address", "10.0.0.1", "256.1.1.1", "10.0.0.1"],
  ["leading zeros", "10.0.0.1", "010.0.0.9", "10.0.0.1"],
  ["a port", "10.0.0.1", "203.0.113.9:4711", "203.0.113.9"],
  ["IPv6 with a port", "10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"],
  ["IPv6 in another spelling", "10.0.0.1", "2001:0DB8:0:0:0:0:0:1", "2001:db8::1"],
  ["a trusted IPv6 proxy", "fd00::1", "203.0.113.9", "203.0.113.9"],
  ["a zone", "fe80::1%eth0", undefined, "fe80::1"],
  ["IPv4 in IPv6", "::ffff:203.0.113.9", undefined, "203.0.113.9"],
  ["IPv4 in IPv6, in hexadecimal", "::ffff:cb00:7109", undefined, "203.0.113.9"],
  ["a trusted proxy as IPv4 in IPv6", "::ffff:10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"],
])("%s", (_, peer, header, expected) => {
  expect(resolveClientAddress(peer, header, trusted)).toBe(expected);
});

test("a header of nothing but proxies is not walked for ever", () => {
  const header = Array.from({ length: 5_000 }, (_, index) => `10.0.${index >> 8}.${index & 255}`).join(",");
  expect(resolveClientAddress("10.0.0.1", `203.0.113.9,${header}`, trusted)).toMatch(/^10\./);
});

test("a proxy that nobody has named is told of, once", async () => {
  const { url, lines } = await startRpcServer();
  const headers = { "x-forwarded-for": "203.0.113.9" };
  for (let count = 0; count < 3; count += 1)
    await post(url, CatalogService.method.getProduct, { sku: "A" }, headers);
  expect(lines.filter(({ message }) => message.includes("TRUSTED_PROXIES"))).toHaveLength(1);
});

describe.each(transportNames)("%s", (name) => {
  const ask = async (trustedProxies: BlockList) => {
    const { url } = await startRpcServer({
      trustedProxies,
      catalog: { getProduct: (_, context) => ({ product: { name: getCall(context).clientAddress } }) },
    });
    const client = createClient(CatalogService, transports(url)[name]);
    const headers = { "x-forwarded-for": "198.51.100.1, 203.0.113.9" };
    const answer = await client.getProduct({ key: { case: "sku", value: "A" } }, { headers });
    return answer.product?.name;
  };

  test("a stranger cannot choose its address", async () => {
    expect(await ask(new BlockList())).toBe("127.0.0.1");
  });

  test("a trusted proxy tells the caller's", async () => {
    const local = new BlockList();
    local.addAddress("127.0.0.1");
    expect(await ask(local)).toBe("203.0.113.9");
  });
});
