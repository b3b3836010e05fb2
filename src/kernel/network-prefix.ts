import { isIPv6 } from "node:net";

/**
 * What stands for a caller's address where callers are told apart by it. Whoever has one IPv6 address has all of its
 * /64.
 * @param address in one spelling: IPv4 in IPv6 as IPv4, IPv6 after RFC 5952
 */
export function networkPrefix(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = "", tail] = address.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const gap = Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => "0");
  return `${[...front, ...gap, ...back].slice(0, 4).join(":")}::/64`;
}
