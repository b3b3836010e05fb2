import { expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { startRateLimitedServer, trustLocalhost } from "../../../support/rpc/rate-limited-server.ts";
import { post } from "../../../support/rpc/rpc-clients.ts";

const { getProduct } = CatalogService.method;

/** Makes a call with each of these values of X-Forwarded-For, and returns how many passed. */
async function countPassed(url: string, forwardedFor: readonly string[]): Promise<number> {
  let passed = 0;
  const values = Iterator.from(forwardedFor);
  const worker = async () => {
    for (const value of values) {
      const { status } = await post(url, getProduct, { sku: "A" }, { "x-forwarded-for": value });
      if (status === 200) passed += 1;
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  return passed;
}

const thousandAddresses = Array.from({ length: 1_000 }, (_, index) => `198.51.${index >> 8}.${index & 255}`);

test("1,000 forged addresses share the budget of the caller", async () => {
  const { url } = await startRateLimitedServer({ READ: 10 });
  expect(await countPassed(url, thousandAddresses)).toBe(10);
});

test("1,000 addresses behind a trusted proxy have a budget each", async () => {
  const { url } = await startRateLimitedServer({ READ: 10 }, { trustedProxies: trustLocalhost() });
  expect(await countPassed(url, thousandAddresses)).toBe(1_000);
  expect(await countPassed(url, Array<string>(20).fill("198.51.0.1")), "the first has nine left").toBe(9);
});

test("addresses that a caller forges in front of a trusted proxy are ignored", async () => {
  const { url } = await startRateLimitedServer({ READ: 10 }, { trustedProxies: trustLocalhost() });
  const forged = thousandAddresses.slice(0, 100).map((address) => `${address}, 203.0.113.9`);
  expect(await countPassed(url, forged)).toBe(10);
});

test("the IPv6 addresses of a /64 network share a budget, and the next network has its own", async () => {
  const { url } = await startRateLimitedServer({ READ: 10 }, { trustedProxies: trustLocalhost() });
  const network = (prefix: string) =>
    Array.from({ length: 50 }, (_, index) => `${prefix}:${index + 1}:2:3:4`);
  expect(await countPassed(url, network("2001:db8:1:2"))).toBe(10);
  expect(await countPassed(url, network("2001:db8:1:3"))).toBe(10);
});
