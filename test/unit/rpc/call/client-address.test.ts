import { BlockList } from "node:net";
import { expect, test } from "vitest";
import { resolveClientAddress } from "../../../../src/rpc/call/client-address.ts";

const trustedProxies = new BlockList();
trustedProxies.addSubnet("10.0.0.0", 8, "ipv4");
trustedProxies.addSubnet("fd00::", 8, "ipv6");

test.each<[string, string | undefined, string | string[] | undefined, string]>([
  ["without a proxy: the peer", "203.0.113.9", undefined, "203.0.113.9"],
  ["with a peer that has disconnected: empty", undefined, "203.0.113.9", ""],
  ["with a header from an untrusted peer: the peer", "203.0.113.9", "198.51.100.1", "203.0.113.9"],
  ["with a header from a trusted proxy: the header", "10.0.0.1", "203.0.113.9", "203.0.113.9"],
  [
    "with a forged address before the one that a trusted proxy wrote: the latter",
    "10.0.0.1",
    "127.0.0.1, 203.0.113.9",
    "203.0.113.9",
  ],
  [
    "with a forged trusted proxy: the address that a real one wrote",
    "10.0.0.1",
    "198.51.100.1, 10.0.0.7, 203.0.113.9",
    "203.0.113.9",
  ],
  [
    "with two trusted proxies: the address before them",
    "10.0.0.1",
    "198.51.100.1, 203.0.113.9, 10.0.0.2",
    "203.0.113.9",
  ],
  ["with trusted proxies only: the first of them", "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"],
  [
    "with several headers: as if they were one",
    "10.0.0.1",
    ["198.51.100.1", "203.0.113.9, 10.0.0.2"],
    "203.0.113.9",
  ],
  ["with garbage: the proxy", "10.0.0.1", "unknown", "10.0.0.1"],
  ["with an empty header: the proxy", "10.0.0.1", "", "10.0.0.1"],
  [
    "with garbage between addresses: the address after it",
    "10.0.0.1",
    "198.51.100.1, <script>, 10.0.0.2",
    "10.0.0.2",
  ],
  ["with numbers that are no address: the proxy", "10.0.0.1", "256.1.1.1", "10.0.0.1"],
  ["with leading zeros: the proxy", "10.0.0.1", "010.0.0.9", "10.0.0.1"],
  ["with a port: the address without it", "10.0.0.1", "203.0.113.9:4711", "203.0.113.9"],
  ["with IPv6 and a port: the address without it", "10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"],
  ["with another spelling of IPv6: RFC 5952", "10.0.0.1", "2001:0DB8:0:0:0:0:0:1", "2001:db8::1"],
  ["with a trusted IPv6 proxy: the header", "fd00::1", "203.0.113.9", "203.0.113.9"],
  ["with an IPv6 zone: the address without it", "fe80::1%eth0", undefined, "fe80::1"],
  ["with IPv4-mapped IPv6: IPv4", "::ffff:203.0.113.9", undefined, "203.0.113.9"],
  ["with IPv4-mapped IPv6 in hexadecimal: IPv4", "::ffff:cb00:7109", undefined, "203.0.113.9"],
  [
    "with a trusted proxy as IPv4-mapped IPv6: the header",
    "::ffff:10.0.0.1",
    "::ffff:203.0.113.9",
    "203.0.113.9",
  ],
])("the client address %s", (_, peer, header, expected) => {
  expect(resolveClientAddress(peer, header, trustedProxies)).toBe(expected);
});

test("a long chain of proxies is resolved up to a limit", () => {
  const header = Array.from({ length: 5_000 }, (_, index) => `10.0.${index >> 8}.${index & 255}`).join(",");
  expect(resolveClientAddress("10.0.0.1", `203.0.113.9,${header}`, trustedProxies)).toMatch(/^10\./);
});
