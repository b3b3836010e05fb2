import { expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { networkPrefix } from "../../../../src/kernel/network-prefix.ts";
import { localProxy, startLimited } from "../../../support/limited-server.ts";
import { post } from "../../../support/rpc-server.ts";

const { getProduct } = CatalogService.method;

/** Calls that say that they come from these addresses. @returns how many passed */
async function passedFrom(url: string, addresses: readonly string[]): Promise<number> {
  let passed = 0;
  const source = Iterator.from(addresses);
  const worker = async () => {
    for (const address of source) {
      const { status } = await post(url, getProduct, { sku: "A" }, { "x-forwarded-for": address });
      if (status === 200) passed += 1;
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  return passed;
}

const thousand = Array.from({ length: 1_000 }, (_, index) => `198.51.${index >> 8}.${index & 255}`);

test("1,000 addresses that a caller makes up are one bucket", async () => {
  const { url } = await startLimited({ READ: 10 });
  expect(await passedFrom(url, thousand)).toBe(10);
});

test("1,000 addresses that a proxy of ours tells of are a thousand", async () => {
  const { url } = await startLimited({ READ: 10 }, { trustedProxies: localProxy() });
  expect(await passedFrom(url, thousand)).toBe(1_000);
  expect(await passedFrom(url, Array<string>(20).fill("198.51.0.1")), "nine are left to the first").toBe(9);
});

test("what a caller wrote before it came to our proxy counts for nothing", async () => {
  const { url } = await startLimited({ READ: 10 }, { trustedProxies: localProxy() });
  expect(
    await passedFrom(
      url,
      thousand.slice(0, 100).map((address) => `${address}, 203.0.113.9`),
    ),
  ).toBe(10);
});

test("IPv6 addresses of one network of 64 bits are one bucket, and the next network is another", async () => {
  const { url } = await startLimited({ READ: 10 }, { trustedProxies: localProxy() });
  const network = (prefix: string) =>
    Array.from({ length: 50 }, (_, index) => `${prefix}:${index + 1}:2:3:4`);
  expect(await passedFrom(url, network("2001:db8:1:2"))).toBe(10);
  expect(await passedFrom(url, network("2001:db8:1:3"))).toBe(10);
});

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2::", "2001:db8:1:2::/64"],
  ["2001:db8:1::6", "2001:db8:1:0::/64"],
  ["2001:db8::3:4:5:6", "2001:db8:0:0::/64"],
  ["2001::2:3:4:5:6:7", "2001:0:2:3::/64"],
  ["::1", "0:0:0:0::/64"],
  ["::", "0:0:0:0::/64"],
  ["", ""],
])("the network of %s is %s", (address, network) => {
  expect(networkPrefix(address)).toBe(network);
});
