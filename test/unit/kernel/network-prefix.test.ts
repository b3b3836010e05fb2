import { expect, test } from "vitest";
import { networkPrefix, sitePrefix } from "../../../src/kernel/network-prefix.ts";

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
])("the network prefix of %j is %j", (address, prefix) => {
  expect(networkPrefix(address)).toBe(prefix);
});

test.each([
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"],
  ["2001:db8:1::6", "2001:db8:1::/48"],
  ["2001:db8::6", "2001:db8:0::/48"],
  ["::1", "0:0:0::/48"],
  ["192.0.2.1", undefined],
  ["", undefined],
])("the site prefix of %j is %j", (address, prefix) => {
  expect(sitePrefix(address)).toBe(prefix);
});
